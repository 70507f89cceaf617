/* cpu.c - what the CPU has and the operating system saves on a context switch. */
#include "kernels/internal.h"

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

typedef struct cpuid_regs {
    unsigned eax, ebx, ecx, edx;
} cpuid_regs;

/* Intel SDM volume 1, section 14.3 and chapter 15: XCR0 tells which register files the OS saves. */
static uint64_t read_xcr0(void) {
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

static cpuid_regs cpuid(unsigned leaf, unsigned subleaf) {
    cpuid_regs r = {0, 0, 0, 0};
    if (!__get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx)) return (cpuid_regs){0, 0, 0, 0};
    return r;
}

static int has_all(unsigned reg, unsigned bits) {
    return (reg & bits) == bits;
}

/* The 8 KiB of a thread's tiles are saved only in a process that asked for it; granted to all its threads, or refused
 * when the alternate signal stack of one is too small (Linux, Documentation/arch/x86/xstate.rst). Numbers as in the
 * kernel's asm/prctl.h. */
static int tiles_granted(void) {
#if defined(__linux__)
    const long req_xcomp_perm = 0x1023, xtiledata = 18;
    return syscall(SYS_arch_prctl, req_xcomp_perm, xtiledata) == 0;
#else
    return 0;
#endif
}

unsigned tq_cpu_bundles(void) {
    cpuid_regs one = cpuid(1, 0), seven = cpuid(7, 0), seven_one = {0, 0, 0, 0};
    const unsigned fma = 1u << 12, osxsave = 1u << 27, avx = 1u << 28, f16c = 1u << 29, avx2 = 1u << 5;
    const unsigned avx512_ebx = 1u << 16 /* F */ | 1u << 17 /* DQ */ | 1u << 30 /* BW */ | 1u << 31 /* VL */;
    const unsigned avx512_ecx = 1u << 1 /* VBMI */ | 1u << 11 /* VNNI */, avx512_bf16 = 1u << 5, avx_vnni = 1u << 4;
    const unsigned amx_edx = 1u << 22 /* BF16 */ | 1u << 24 /* TILE */;
    const uint64_t ymm_state = 0x6, zmm_state = 0xe6, tile_state = 0x60000;
    unsigned bundles = 0;

    if (!has_all(one.ecx, fma | osxsave | avx | f16c) || !has_all(seven.ebx, avx2)) return 0;
    uint64_t xcr0 = read_xcr0();
    if ((xcr0 & ymm_state) != ymm_state) return 0;
    bundles |= TQ_CPU_AVX2;
    if (seven.eax >= 1) seven_one = cpuid(7, 1);
    if (has_all(seven_one.eax, avx_vnni)) bundles |= TQ_CPU_AVX_VNNI;
    if ((xcr0 & zmm_state) == zmm_state && has_all(seven.ebx, avx512_ebx) && has_all(seven.ecx, avx512_ecx) &&
        has_all(seven_one.eax, avx512_bf16))
        bundles |= TQ_CPU_AVX512;
    if ((bundles & TQ_CPU_AVX512) && has_all(seven.edx, amx_edx) && (xcr0 & tile_state) == tile_state &&
        tiles_granted())
        bundles |= TQ_CPU_AMX;
    return bundles;
}

int tq_cpu_is_intel(void) {
    cpuid_regs maker = cpuid(0, 0);
    unsigned name[3] = {maker.ebx, maker.edx, maker.ecx};
    return !memcmp(name, "GenuineIntel", sizeof name);
}
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>

/* NEON is part of the base architecture; of the rest the kernel tells. Bits as in the kernel's asm/hwcap.h. */
unsigned tq_cpu_bundles(void) {
    const unsigned long dotprod = 1UL << 20, i8mm = 1UL << 13;
    unsigned bundles = TQ_CPU_NEON;
    if (!(getauxval(AT_HWCAP) & dotprod)) return bundles;
    bundles |= TQ_CPU_NEON_DOTPROD;
    return getauxval(AT_HWCAP2) & i8mm ? bundles | TQ_CPU_NEON_I8MM : bundles;
}
#elif defined(__aarch64__)
unsigned tq_cpu_bundles(void) {
    return TQ_CPU_NEON;
}
#else
unsigned tq_cpu_bundles(void) {
    return 0;
}
#endif

void tq_spin_hint(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

void tq_prefetch(const void *p, size_t bytes) {
    for (size_t i = 0; i < bytes; i += 64)
        __builtin_prefetch((const char *)p + i, 0, 2);
}

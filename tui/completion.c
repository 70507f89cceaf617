/* completion.c - see completion.h. What completes a value is taken from what its error message expects: a list of
 * words, or something that is a file. */
#include "tui/completion.h"

#include <string.h>

#include "tui/options_table.h"

/* --- values --- */

/* "keep, 4, 4t, 4+2 or 4+4" as "keep 4 4t 4+2 4+4"; false: the text is no list of words. */
static bool words_of(const tq_option *o, char out[256]) {
    size_t n = 0, words = 0;
    const char *p = o->arg ? o->expected : "";
    while (*p) {
        size_t word = strcspn(p, " ,");
        const char *rest = p + word;
        if (word == 0 || n + word + 2 > 256) return false;
        n += (size_t)snprintf(out + n, 256 - n, "%s%.*s", words++ ? " " : "", (int)word, p);
        if (strncmp(rest, ", ", 2) == 0)
            p = rest + 2;
        else if (strncmp(rest, " or ", 4) == 0)
            p = rest + 4;
        else if (*rest)
            return false;
        else
            p = rest;
    }
    return words > 1;
}

static bool takes_file(const tq_option *o) {
    static const char *const kinds[] = {"a file name", "a path", "a model"};
    for (size_t i = 0; o->arg && i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(o->expected, kinds[i]) == 0) return true;
    return false;
}

static bool of(const tq_option *o, int command) {
    return o->commands >> (unsigned)command & 1U;
}

/* The first line of the help, quoted for a shell's '...'. */
static void put_summary(FILE *f, const char *text, const char *avoid) {
    for (; *text && *text != '\n'; text++)
        fputc(*text == '\'' || strchr(avoid, *text) ? ' ' : *text, f);
}

/* The names of all commands. */
static void put_commands(FILE *f, const char *between) {
    for (int c = 1; c < TQ_CMD_COUNT; c++)
        fprintf(f, "%s%s", c > 1 ? between : "", tq_command_table[c].name);
}

/* --- bash --- */

static void bash_options(FILE *f, int c) {
    for (const tq_option *o = tq_option_table; o->name; o++)
        if (of(o, c)) fprintf(f, " --%s", o->name);
}

static void bash(FILE *f) {
    fputs("# bash completion of tqexplore, made by tqexplore --completion bash\n_tqexplore() {\n"
          "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} word command= options=\n"
          "    COMPREPLY=()\n    for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n        case $word in\n          "
          "  ",
          f);
    put_commands(f, "|");
    fputs(") command=$word; break ;;\n        esac\n    done\n    case $prev in\n", f);
    char words[256];
    for (const tq_option *o = tq_option_table; o->name; o++) {
        if (words_of(o, words))
            fprintf(f, "        --%s) COMPREPLY=($(compgen -W '%s' -- \"$cur\")); return ;;\n", o->name, words);
        else if (takes_file(o))
            fprintf(f, "        --%s) compopt -o filenames; COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n",
                    o->name);
        else if (o->arg)
            fprintf(f, "        --%s) return ;;\n", o->name);
    }
    fputs("    esac\n    case $command in\n", f);
    for (int c = 1; c <= TQ_CMD_COUNT; c++) { /* the explorer's last: it is what else there is */
        int at = c % TQ_CMD_COUNT;
        fprintf(f, "        %s) options='", at ? tq_command_table[at].name : "*");
        bash_options(f, at);
        fputs("' ;;\n", f);
    }
    fputs("    esac\n    case $cur in\n        -*) COMPREPLY=($(compgen -W \"$options\" -- \"$cur\")) ;;\n        *)\n"
          "            compopt -o filenames\n            COMPREPLY=($(compgen -f -- \"$cur\"))\n"
          "            [ -n \"$command\" ] || [ \"$COMP_CWORD\" -ne 1 ] || COMPREPLY+=($(compgen -W '",
          f);
    put_commands(f, " ");
    fputs("' -- \"$cur\")) ;;\n    esac\n}\ncomplete -F _tqexplore tqexplore\n", f);
}

/* --- zsh --- */

static void zsh_options(FILE *f, int c) {
    char words[256];
    for (const tq_option *o = tq_option_table; o->name; o++) {
        if (!of(o, c)) continue;
        fprintf(f, "                '%s--%s%s[", o->repeatable ? "*" : "", o->name, o->arg ? "=" : "");
        put_summary(f, o->help, "[]:\\");
        fputc(']', f);
        if (words_of(o, words))
            fprintf(f, ":%s:(%s)", o->name, words);
        else if (o->arg)
            fprintf(f, ":%s:%s", o->name, takes_file(o) ? "_files" : " ");
        fputs("' \\\n", f);
    }
}

static void zsh(FILE *f) {
    fputs("#compdef tqexplore\n# zsh completion of tqexplore, made by tqexplore --completion zsh\n_tqexplore() {\n"
          "    local command=${words[(r)(",
          f);
    put_commands(f, "|");
    fputs(")]}\n    local -a commands\n    commands=(\n", f);
    for (int c = 1; c < TQ_CMD_COUNT; c++) {
        fprintf(f, "        '%s:", tq_command_table[c].name);
        put_summary(f, tq_command_table[c].what, ":\\");
        fputs("'\n", f);
    }
    fputs("    )\n    [[ -n $command || $CURRENT -ne 2 || $PREFIX == -* ]] || _describe command commands\n"
          "    case $command in\n",
          f);
    for (int c = 1; c <= TQ_CMD_COUNT; c++) {
        int at = c % TQ_CMD_COUNT;
        fprintf(f, "        %s)\n            _arguments \\\n", at ? tq_command_table[at].name : "*");
        zsh_options(f, at);
        fputs("                '*:model:_files'\n            ;;\n", f);
    }
    fputs("    esac\n}\n_tqexplore \"$@\"\n", f);
}

/* --- fish --- */

static void fish_condition(FILE *f, unsigned commands) {
    const char *between = "";
    if (commands & 1U) { /* the explorer: none of the commands that do not have it */
        fputs("not __fish_seen_subcommand_from", f);
        for (int c = 1; c < TQ_CMD_COUNT; c++)
            if (!(commands >> (unsigned)c & 1U)) fprintf(f, " %s", tq_command_table[c].name);
        return;
    }
    fputs("__fish_seen_subcommand_from ", f);
    for (int c = 1; c < TQ_CMD_COUNT; c++)
        if (commands >> (unsigned)c & 1U) {
            fprintf(f, "%s%s", between, tq_command_table[c].name);
            between = " ";
        }
}

static void fish(FILE *f) {
    char words[256];
    fputs("# fish completion of tqexplore, made by tqexplore --completion fish\n", f);
    for (int c = 1; c < TQ_CMD_COUNT; c++) {
        fprintf(f, "complete -c tqexplore -n __fish_use_subcommand -a %s -d '", tq_command_table[c].name);
        put_summary(f, tq_command_table[c].what, "\\");
        fputs("'\n", f);
    }
    for (const tq_option *o = tq_option_table; o->name; o++) {
        fputs("complete -c tqexplore", f);
        if (o->commands != (1U << TQ_CMD_COUNT) - 1) {
            fputs(" -n '", f);
            fish_condition(f, o->commands);
            fputc('\'', f);
        }
        fprintf(f, " -l %s", o->name);
        if (words_of(o, words))
            fprintf(f, " -x -a '%s'", words);
        else if (o->arg)
            fputs(takes_file(o) ? " -r -F" : " -x", f);
        fputs(" -d '", f);
        put_summary(f, o->help, "\\");
        fputs("'\n", f);
    }
}

static const struct {
    const char *name;
    void (*print)(FILE *f);
} shells[] = {{"bash", bash}, {"zsh", zsh}, {"fish", fish}};

bool tq_completion_known(const char *shell) {
    for (size_t i = 0; i < sizeof shells / sizeof *shells; i++)
        if (strcmp(shell, shells[i].name) == 0) return true;
    return false;
}

void tq_print_completion(FILE *f, const char *shell) {
    for (size_t i = 0; i < sizeof shells / sizeof *shells; i++)
        if (strcmp(shell, shells[i].name) == 0) shells[i].print(f);
}

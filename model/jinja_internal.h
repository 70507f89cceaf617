/* jinja_internal.h - tokens, nodes and values of a template, as the jinja_*.c files share them. Private to them.
 * Facts: Jinja 2's documentation and the behaviour of jinja2 3.1, which is the reference. */
#ifndef TQ_JINJA_INTERNAL_H
#define TQ_JINJA_INTERNAL_H

#include "model/jinja.h"

enum {
    TQ_J_MAX_ARGS = 12,        /* of one call */
    TQ_J_MAX_NEST = 160,       /* blocks and brackets within each other */
    TQ_J_MAX_DEPTH = 600,      /* evaluations within each other, macros included */
    TQ_J_MAX_VALUE_DEPTH = 60, /* lists within lists, when they are printed or compared */
    TQ_J_MAX_STEPS = 4000000,
    TQ_J_MAX_RANGE = 100000, /* as the sandbox of jinja2 */
};
#define TQ_J_MAX_TEMPLATE ((size_t)4 << 20)
#define TQ_J_MAX_MEMORY ((size_t)128 << 20) /* of one rendering, and of one parsed template */
#define TQ_J_MAX_OUTPUT ((size_t)16 << 20)

/* Memory that is freed as a whole. */
typedef struct tq_arena {
    struct tq_arena_chunk *head;
    size_t total, limit;
} tq_arena;
void *tq_arena_alloc(tq_arena *a, size_t n); /* zeroed; NULL beyond the limit */
void tq_arena_free(tq_arena *a);

/* --- tokens --- */

typedef enum tq_jtoken_kind {
    TQ_T_DATA,
    TQ_T_PRINT,     /* {{ */
    TQ_T_PRINT_END, /* }} */
    TQ_T_BLOCK,     /* {% */
    TQ_T_BLOCK_END, /* %} */
    TQ_T_NAME,
    TQ_T_STRING,
    TQ_T_INT,
    TQ_T_FLOAT,
    TQ_T_OP, /* its text is the operator */
    TQ_T_END
} tq_jtoken_kind;

typedef struct tq_jtoken {
    tq_jtoken_kind kind;
    int line;
    const char *p; /* DATA, NAME, OP: NUL-terminated; STRING: decoded, n bytes */
    size_t n;
    int64_t i;
    double f;
} tq_jtoken;

/* Where the work of parsing stands; the first failure stays. */
typedef struct tq_jparse {
    const char *name;
    tq_arena *arena;
    tq_err *err;
    bool failed;
    tq_jtoken *tokens; /* malloc'ed; the last is TQ_T_END */
    size_t n_tokens, capacity;
    size_t at;
    int nest;
    int loops; /* for blocks around: break and continue need one */
} tq_jparse;
/* Says "NAME, line LINE: ..." once; false, so that it can be returned. */
bool tq_jparse_fail(tq_jparse *p, int line, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void *tq_jparse_alloc(tq_jparse *p, size_t n); /* NULL sets failed */

/* Cuts a template into tokens. */
bool tq_jinja_lex(tq_jparse *p, const char *text, size_t n);

/* White space as Python's str.strip has it: bytes of such a character at p (before p), 0 for none. */
size_t tq_j_space(const char *p, const char *end);
size_t tq_j_space_before(const char *begin, const char *p);

/* --- values --- */

typedef enum tq_jkind {
    TQ_J_UNDEFINED,
    TQ_J_NONE,
    TQ_J_BOOL,
    TQ_J_INT,
    TQ_J_FLOAT,
    TQ_J_STRING,
    TQ_J_LIST,
    TQ_J_DICT,
    TQ_J_NAMESPACE,
    TQ_J_LOOP,
    TQ_J_MACRO,
    TQ_J_FUNCTION, /* a global function */
    TQ_J_METHOD    /* of a value */
} tq_jkind;

typedef struct tq_jvalue tq_jvalue;

/* typed: one for each byte, or NULL when nobody typed any. */
typedef struct tq_jstring {
    const char *p;
    const unsigned char *typed;
    size_t n;
} tq_jstring;

struct tq_jvalue {
    tq_jkind kind;
    union {
        bool b;
        int64_t i;
        double f;
        const tq_jstring *s;
        struct tq_jlist *list;
        struct tq_jdict *dict; /* also of a namespace */
        struct tq_jloop *loop;
        struct tq_jmacro *macro;
        const struct tq_jcallable *function;
        struct tq_jmethod *method;
        const char *missing; /* of an undefined value: what it was called, or NULL for "not given" */
    } u;
};

typedef struct tq_jlist {
    tq_jvalue *v;
    size_t n;
    bool tuple; /* printed in parentheses */
} tq_jlist;

typedef struct tq_jdict {
    tq_jvalue *key, *value;
    size_t n, capacity;
} tq_jdict;

typedef struct tq_jloop {
    const tq_jlist *items;
    size_t index;
    tq_jvalue changed; /* what loop.changed was last asked about: a tuple, or undefined */
} tq_jloop;

typedef struct tq_jmacro {
    const struct tq_jnode *node;
    struct tq_jscope *scope; /* where it was defined */
} tq_jmacro;

typedef struct tq_jmethod {
    const struct tq_jcallable *row;
    tq_jvalue self;
} tq_jmethod;

/* --- nodes --- */

typedef enum tq_jnode_kind {
    /* expressions */
    TQ_N_CONST,
    TQ_N_NAME,
    TQ_N_LIST, /* args; also tuples */
    TQ_N_TUPLE,
    TQ_N_DICT,    /* args: key, value, key, value */
    TQ_N_ATTR,    /* a.name */
    TQ_N_ITEM,    /* a[b] */
    TQ_N_SLICE,   /* a[args: three, each may be a CONST none] */
    TQ_N_CALL,    /* a(args) */
    TQ_N_FILTER,  /* a|row(args) */
    TQ_N_TEST,    /* a is row(args) */
    TQ_N_KEYWORD, /* name=a among args */
    TQ_N_NOT,
    TQ_N_NEG,
    TQ_N_POS,
    TQ_N_AND,
    TQ_N_OR,
    TQ_N_BINARY,  /* a op b */
    TQ_N_COMPARE, /* a, args: OPERANDs */
    TQ_N_OPERAND, /* op a */
    TQ_N_COND,    /* b if a else c; c may be NULL */
    /* statements */
    TQ_N_DATA,
    TQ_N_PRINT,
    TQ_N_FOR,         /* for a in b if c: body, orelse */
    TQ_N_IF,          /* if a: body, orelse */
    TQ_N_SET,         /* a = b */
    TQ_N_SETBLOCK,    /* a = body, through the filters of b (or NULL) */
    TQ_N_MACRO,       /* name(args: NAMEs, or KEYWORDs with a default): body */
    TQ_N_FILTERBLOCK, /* filters of b over body */
    TQ_N_WITH,        /* args: SETs; body */
    TQ_N_SCOPE,       /* body */
    TQ_N_BREAK,
    TQ_N_CONTINUE
} tq_jnode_kind;

typedef enum tq_jop {
    TQ_O_ADD,
    TQ_O_SUB,
    TQ_O_MUL,
    TQ_O_DIV,
    TQ_O_FLOORDIV,
    TQ_O_MOD,
    TQ_O_POW,
    TQ_O_CONCAT,
    TQ_O_EQ,
    TQ_O_NE,
    TQ_O_LT,
    TQ_O_LE,
    TQ_O_GT,
    TQ_O_GE,
    TQ_O_IN,
    TQ_O_NOT_IN
} tq_jop;

typedef struct tq_jnode {
    tq_jnode_kind kind;
    int line;
    tq_jop op;
    const char *name;
    const struct tq_jcallable *row;
    tq_jvalue value;
    struct tq_jnode *a, *b, *c;
    struct tq_jnode *args, *body, *orelse; /* first of a chain by next */
    struct tq_jnode *next;
} tq_jnode;

struct tq_jinja {
    char *name;
    tq_arena arena;
    const tq_jnode *body;
    const char *const *reads; /* names of variables, as often as they are read */
    size_t n_reads;
};

/* jinja_expr.c: what blocks are made of. NULL after a failure. */
tq_jnode *tq_jparse_node(tq_jparse *p, tq_jnode_kind kind, int line);
const tq_jtoken *tq_jparse_peek(const tq_jparse *p);
bool tq_jparse_is(const tq_jparse *p, tq_jtoken_kind kind, const char *text); /* text NULL: any */
bool tq_jparse_take(tq_jparse *p, tq_jtoken_kind kind, const char *text);     /* if it is there */
bool tq_jparse_expect(tq_jparse *p, tq_jtoken_kind kind, const char *text);   /* or fails */
const char *tq_jparse_name(tq_jparse *p);                                     /* NULL: fails */
tq_jnode *tq_jparse_expression(tq_jparse *p);
/* One expression, or a tuple of them; cond: `if` may follow inside. */
tq_jnode *tq_jparse_tuple(tq_jparse *p, bool cond);
/* A name, names with commas, or (names) NAMESPACE.attribute. */
tq_jnode *tq_jparse_target(tq_jparse *p, bool attribute);
/* |filter|filter over a (may be NULL); the first `|` is optional when bare is set. */
tq_jnode *tq_jparse_filters(tq_jparse *p, tq_jnode *a, bool bare);
bool tq_jparse_enter(tq_jparse *p, int line); /* one level deeper, at most TQ_J_MAX_NEST; undo with p->nest-- */

/* jinja_parse.c: the statements of the whole. */
const tq_jnode *tq_jparse_template(tq_jparse *p);

/* --- evaluation --- */

typedef struct tq_jbinding {
    const char *name;
    tq_jvalue value;
    struct tq_jbinding *next;
} tq_jbinding;

typedef struct tq_jscope {
    struct tq_jscope *parent;
    tq_jbinding *first;
} tq_jscope;

/* Text that grows, with what was typed in it. */
typedef struct tq_jtext {
    char *p;
    unsigned char *typed;
    size_t n, capacity;
} tq_jtext;

typedef struct tq_jrun {
    const tq_jinja *t;
    tq_arena arena;
    tq_err *err;
    bool failed, raised;
    int line, depth, value_depth;
    size_t steps;
    time_t now;
    tq_jscope *scope;
    tq_jtext *out;
} tq_jrun;

/* Says "NAME, line LINE: ..." once, and gives an undefined value. */
tq_jvalue tq_j_fail(tq_jrun *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void *tq_j_alloc(tq_jrun *r, size_t n); /* NULL sets failed */
bool tq_j_step(tq_jrun *r, size_t n);   /* false when there were too many */

typedef struct tq_jargs {
    tq_jvalue v[TQ_J_MAX_ARGS]; /* by position; those that a row names are filled with "not given" */
    size_t n;
    const char *name[TQ_J_MAX_ARGS];
    tq_jvalue kw[TQ_J_MAX_ARGS];
    size_t n_kw;
} tq_jargs;

/* A function, filter, test or method. */
typedef struct tq_jcallable {
    const char *name;
    tq_jvalue (*fn)(tq_jrun *r, tq_jvalue self, const tq_jargs *a);
    size_t min, max;       /* arguments by position */
    const char *params[6]; /* their names; NULL: has none */
    bool open;             /* takes any arguments, as they are given */
} tq_jcallable;
const tq_jcallable *tq_j_find(const tq_jcallable *rows, const char *name);
tq_jvalue tq_j_invoke(tq_jrun *r, const char *what, const tq_jcallable *row, tq_jvalue self, const tq_jargs *a);
bool tq_j_given(const tq_jargs *a, size_t i);

extern const tq_jcallable tq_j_filters[], tq_j_tests[], tq_j_functions[];
extern const tq_jcallable tq_j_string_methods[], tq_j_dict_methods[], tq_j_list_methods[], tq_j_loop_methods[];

/* jinja_value.c */
tq_jvalue tq_j_undefined(const char *name);
tq_jvalue tq_j_none(void);
tq_jvalue tq_j_bool(bool b);
tq_jvalue tq_j_int(int64_t i);
tq_jvalue tq_j_float(double f);
tq_jvalue tq_j_string(tq_jrun *r, const char *p, const unsigned char *typed, size_t n); /* borrowed bytes */
tq_jvalue tq_j_literal(tq_jrun *r, const char *text);
tq_jvalue tq_j_part(tq_jrun *r, const tq_jstring *s, size_t from, size_t n);
tq_jvalue tq_j_taken(tq_jrun *r, const tq_jtext *t);   /* the text, which must not grow any more */
tq_jvalue tq_j_list(tq_jrun *r, size_t n, bool tuple); /* of undefined values */
tq_jvalue tq_j_pair(tq_jrun *r, tq_jvalue a, tq_jvalue b);
tq_jvalue tq_j_dict(tq_jrun *r, size_t n); /* empty, with room for n */
bool tq_j_put(tq_jrun *r, tq_jdict *d, tq_jvalue key, tq_jvalue value);
const tq_jvalue *tq_j_get(tq_jrun *r, const tq_jdict *d, tq_jvalue key);
const tq_jvalue *tq_j_member(const tq_jdict *d, const char *key);
const char *tq_j_kind_name(tq_jvalue v);
bool tq_j_true(tq_jvalue v);
bool tq_j_is_number(tq_jvalue v); /* true and false are numbers, as in Python */
double tq_j_as_float(tq_jvalue v);
bool tq_j_as_int(tq_jvalue v, int64_t *out); /* of a number without a fraction's type */
bool tq_j_is_text(tq_jvalue v, const char *text);
bool tq_j_equal(tq_jrun *r, tq_jvalue a, tq_jvalue b);
int tq_j_order(tq_jrun *r, tq_jvalue a, tq_jvalue b, const char *op); /* <0, 0, >0; fails when there is none */
tq_jvalue tq_j_contains(tq_jrun *r, tq_jvalue item, tq_jvalue in);
/* What a for loop goes over: members, keys, characters. */
tq_jvalue tq_j_items(tq_jrun *r, tq_jvalue v);
tq_jvalue tq_j_length(tq_jrun *r, tq_jvalue v);
tq_jvalue tq_j_attribute(tq_jrun *r, tq_jvalue v, const char *name);
tq_jvalue tq_j_item(tq_jrun *r, tq_jvalue v, tq_jvalue key);
tq_jvalue tq_j_slice(tq_jrun *r, tq_jvalue v, const tq_jvalue part[3]);

/* jinja_text.c */
bool tq_j_add(tq_jrun *r, tq_jtext *t, const char *p, const unsigned char *typed, size_t n);
bool tq_j_add_text(tq_jrun *r, tq_jtext *t, const char *text);
bool tq_j_add_string(tq_jrun *r, tq_jtext *t, const tq_jstring *s);
bool tq_j_add_str(tq_jrun *r, tq_jtext *t, tq_jvalue v);  /* as str() gives it */
bool tq_j_add_repr(tq_jrun *r, tq_jtext *t, tq_jvalue v); /* as repr() does */
const tq_jstring *tq_j_str(tq_jrun *r, tq_jvalue v);      /* never NULL */
size_t tq_j_characters(const tq_jstring *s);
size_t tq_j_offset(const tq_jstring *s, size_t characters); /* in bytes, at most s->n */
/* The first place at or after from; SIZE_MAX for none. The last one before end with tq_j_rfind. */
size_t tq_j_find_text(const tq_jstring *s, const tq_jstring *what, size_t from);
size_t tq_j_rfind_text(const tq_jstring *s, const tq_jstring *what, size_t end);
void tq_j_format_float(double f, char out[40]);
/* Python's strip: which ends (1 left, 2 right), of the characters in what (NULL: white space). */
tq_jvalue tq_j_strip(tq_jrun *r, const tq_jstring *s, const tq_jstring *what, int ends);
tq_jvalue tq_j_upper(tq_jrun *r, const tq_jstring *s, bool upper);
tq_jvalue tq_j_capitalize(tq_jrun *r, const tq_jstring *s);
tq_jvalue tq_j_title(tq_jrun *r, const tq_jstring *s);
tq_jvalue tq_j_replace(tq_jrun *r, const tq_jstring *s, const tq_jstring *from, const tq_jstring *to, int64_t count);

/* jinja_json.c */
tq_jvalue tq_j_of_json(tq_jrun *r, const cJSON *item, bool typed);
typedef struct tq_jjson {
    bool ascii, sorted, lines;
    int64_t indent;         /* with lines */
    const char *item, *key; /* separators, with their lengths */
    size_t item_n, key_n;
    int level;
} tq_jjson;
bool tq_j_tojson(tq_jrun *r, tq_jtext *t, tq_jvalue v, const tq_jjson *style);

/* jinja_eval.c */
tq_jvalue tq_j_eval(tq_jrun *r, const tq_jnode *n);
tq_jvalue tq_j_call(tq_jrun *r, tq_jvalue f, const tq_jargs *a);
tq_jvalue tq_j_binary(tq_jrun *r, tq_jop op, tq_jvalue a, tq_jvalue b); /* jinja_operators.c */
tq_jvalue tq_j_compare(tq_jrun *r, tq_jop op, tq_jvalue a, tq_jvalue b);

/* jinja_exec.c */
typedef enum tq_jflow { TQ_J_NEXT, TQ_J_BREAK, TQ_J_CONTINUE } tq_jflow;
tq_jflow tq_j_exec(tq_jrun *r, const tq_jnode *n); /* and all that follow it */
tq_jvalue tq_j_call_macro(tq_jrun *r, const tq_jmacro *m, const tq_jargs *a);
const tq_jvalue *tq_j_lookup(tq_jrun *r, const char *name);
bool tq_j_bind(tq_jrun *r, const char *name, tq_jvalue v); /* in the innermost scope */

#endif

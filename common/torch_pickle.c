/* SPDX-License-Identifier: MIT
 *
 * torch_pickle.c - the data.pkl of torch.save, run by a machine that can only
 * make dicts of tensors.
 *
 * A pickle is a program.  Of all Python objects this machine knows the three of
 * an [Ordered]dict of f32 tensors.  Whatever else a pickle names, calls or builds
 * becomes one inert value, of which nothing can be made but inert values: no code
 * is run, nothing is looked up, nothing is kept of it.  The first such thing is
 * noted.  A dict of tensors must have none; the checkpoint of a training run, a
 * dict with a "state_dict", may have them beside that (optimizer, callbacks,
 * hyper-parameters), and under it tensors alone.  All this is settled before the
 * data of any tensor are looked at.  Opcodes: Lib/pickletools.py; those that
 * picklers of Python 3 do not write are refused.  Each makes at most one value, so
 * memory is bounded by the length of the pickle.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/record.h"
#include "common/weights_impl.h"
#include "common/xmem.h"

enum kind {
    NONE,
    BOOL,
    INT,     /* i */
    TEXT,    /* s, n */
    GLOBAL,  /* i: enum global */
    TUPLE,   /* i: the first of its n items */
    DICT,    /* what is in it stands in vm.pairs */
    ORDERED, /* the same, an OrderedDict */
    STORAGE, /* s, n: the key; i: elements */
    TENSOR,  /* i: in vm.tensors */
    INERT,
    MARK,
};

enum global { ORDERED_DICT, REBUILD_TENSOR, FLOAT_STORAGE };

static const char *const globals[] = {
    [ORDERED_DICT] = "collections.OrderedDict",
    [REBUILD_TENSOR] = "torch._utils._rebuild_tensor_v2",
    [FLOAT_STORAGE] = "torch.FloatStorage",
};

enum {
    STOP = '.',
    PROTO = 0x80,
    GLOBAL_MAX_BYTES = 200,
    KEY_MAX_BYTES = 40, /* of a storage; torch writes a number */
};

struct value {
    enum kind kind;
    bool is_name; /* of a tensor, already */
    int64_t i;
    const char *s;
    size_t n;
};

struct pair {
    uint32_t dict, key, value; /* in vm.values */
};

struct vm {
    const unsigned char *bytes;
    size_t n, at;
    struct value *values;
    uint32_t *stack, *items; /* in values */
    uint32_t *memo;          /* 1 + in values; 0: not set */
    struct pair *pairs;
    struct torch_tensor *tensors;
    size_t n_values, n_stack, n_items, n_memo, n_pairs, n_tensors, n_memoized;
    size_t cap_values, cap_stack, cap_items, cap_memo, cap_pairs, cap_tensors;
    struct dnas_err foreign; /* the first thing that no dict of tensors needs; or "" */
};

/* ---- bytes, stack ---- */

/* The next n bytes, or NULL. */
static const unsigned char *take(struct vm *vm, uint64_t n, struct dnas_err *err)
{
    const unsigned char *p = vm->bytes + vm->at;

    if (n > vm->n - vm->at) {
        dnas_err_set(err, "is truncated");
        return NULL;
    }
    vm->at += (size_t)n;
    return p;
}

static int take_number(struct vm *vm, size_t n_bytes, uint64_t *x, struct dnas_err *err)
{
    const unsigned char *p = take(vm, n_bytes, err);

    if (!p)
        return -1;
    *x = weights_get(p, n_bytes);
    return 0;
}

static int push_old(struct vm *vm, size_t value)
{
    vm->stack = dnas_xgrow(vm->stack, &vm->cap_stack, vm->n_stack + 1, sizeof(*vm->stack));
    vm->stack[vm->n_stack++] = (uint32_t)value;
    return 0;
}

static int push(struct vm *vm, struct value value)
{
    vm->values = dnas_xgrow(vm->values, &vm->cap_values, vm->n_values + 1, sizeof(*vm->values));
    vm->values[vm->n_values] = value;
    return push_old(vm, vm->n_values++);
}

static int push_inert(struct vm *vm)
{
    return push(vm, (struct value){.kind = INERT});
}

/* Where to say what a dict of tensors would not have; NULL, nowhere, but for the
 * first time. */
static struct dnas_err *foreign(struct vm *vm)
{
    return vm->foreign.msg[0] == '\0' ? &vm->foreign : NULL;
}

/* The top of the stack, or NULL where it is a mark or nothing. */
static struct value *top(struct vm *vm, struct dnas_err *err)
{
    struct value *value;

    if (vm->n_stack > 0) {
        value = &vm->values[vm->stack[vm->n_stack - 1]];
        if (value->kind != MARK)
            return value;
    }
    dnas_err_set(err, "takes more from its stack than is there");
    return NULL;
}

/* The same, taken off; valid until the next push. */
static struct value *pop(struct vm *vm, struct dnas_err *err)
{
    struct value *value = top(vm, err);

    if (value)
        vm->n_stack--;
    return value;
}

/* Where on the stack the topmost mark is. */
static int find_mark(const struct vm *vm, size_t *at, struct dnas_err *err)
{
    for (*at = vm->n_stack; *at > 0; --*at)
        if (vm->values[vm->stack[*at - 1]].kind == MARK) {
            --*at;
            return 0;
        }
    return dnas_err_set(err, "lacks a mark on its stack");
}

/* ---- opcodes: vm, and what the table below gives them ---- */

static int op_proto(struct vm *vm, size_t n_bytes, struct dnas_err *err)
{
    uint64_t version;

    if (take_number(vm, n_bytes, &version, err) != 0)
        return -1;
    if (version < 2 || version > 5)
        return dnas_err_set(err, "is of pickle protocol %" PRIu64 "; 2 to 5 can be read", version);
    return 0;
}

/* A hint for buffered readers. */
static int op_frame(struct vm *vm, size_t n_bytes, struct dnas_err *err)
{
    uint64_t size;

    return take_number(vm, n_bytes, &size, err);
}

static int op_constant(struct vm *vm, size_t kind, struct dnas_err *err)
{
    (void)err;
    return push(vm, (struct value){.kind = (enum kind)kind});
}

static int op_int(struct vm *vm, size_t n_bytes, struct dnas_err *err)
{
    uint64_t x;

    if (take_number(vm, n_bytes, &x, err) != 0)
        return -1;
    return push(vm, (struct value){.kind = INT, .i = n_bytes == 4 ? (int32_t)x : (int64_t)x});
}

static int op_long1(struct vm *vm, size_t n_bytes, struct dnas_err *err)
{
    uint64_t n, x;

    if (take_number(vm, n_bytes, &n, err) != 0)
        return -1;
    if (n > 8) {
        dnas_err_set(foreign(vm), "has an integer of %" PRIu64 " bytes; 8 at most can be read", n);
        return take(vm, n, err) ? push_inert(vm) : -1;
    }
    if (take_number(vm, (size_t)n, &x, err) != 0)
        return -1;
    if (n > 0 && n < 8 && x >> (8 * n - 1))
        x |= UINT64_MAX << (8 * n); /* two's complement */
    return push(vm, (struct value){.kind = INT, .i = (int64_t)x});
}

static int op_text(struct vm *vm, size_t n_bytes, struct dnas_err *err)
{
    const unsigned char *p;
    uint64_t n;

    if (take_number(vm, n_bytes, &n, err) != 0 || (p = take(vm, n, err)) == NULL)
        return -1;
    if (!dnas_is_utf8((const char *)p, (size_t)n)) { /* or has a zero: bytes, by protocol 2 */
        dnas_err_set(foreign(vm), "has a text that is not UTF-8");
        return push_inert(vm);
    }
    return push(vm, (struct value){.kind = TEXT, .s = (const char *)p, .n = (size_t)n});
}

static int push_global(struct vm *vm, const char *module, size_t n_module, const char *name,
                       size_t n_name, struct dnas_err *err)
{
    char full[2 * GLOBAL_MAX_BYTES + 2];

    if (n_module > GLOBAL_MAX_BYTES || n_name > GLOBAL_MAX_BYTES ||
        !dnas_is_utf8(module, n_module) || !dnas_is_utf8(name, n_name))
        return dnas_err_set(err, "names a Python object by what is no name");
    snprintf(full, sizeof(full), "%.*s.%.*s", (int)n_module, module, (int)n_name, name);
    for (size_t g = 0; g < sizeof(globals) / sizeof(globals[0]); g++)
        if (strcmp(full, globals[g]) == 0)
            return push(vm, (struct value){.kind = GLOBAL, .i = (int64_t)g});
    dnas_err_set(foreign(vm),
                 "asks for the Python object '%s', where a dict of f32 tensors needs only "
                 "%s, %s and %s; try safetensors",
                 full, globals[0], globals[1], globals[2]);
    return push_inert(vm);
}

static int take_line(struct vm *vm, const char **line, size_t *n, struct dnas_err *err)
{
    const unsigned char *p = vm->bytes + vm->at, *end = memchr(p, '\n', vm->n - vm->at);

    if (!end)
        return dnas_err_set(err, "is truncated");
    *line = (const char *)p;
    *n = (size_t)(end - p);
    vm->at += *n + 1;
    return 0;
}

static int op_global(struct vm *vm, size_t unused, struct dnas_err *err)
{
    const char *module = NULL, *name = NULL;
    size_t n_module = 0, n_name = 0;

    (void)unused;
    if (take_line(vm, &module, &n_module, err) != 0 || take_line(vm, &name, &n_name, err) != 0)
        return -1;
    return push_global(vm, module, n_module, name, n_name, err);
}

static int op_stack_global(struct vm *vm, size_t unused, struct dnas_err *err)
{
    const struct value *name = pop(vm, err), *module = name ? pop(vm, err) : NULL;

    (void)unused;
    if (!module)
        return -1;
    if (module->kind != TEXT || name->kind != TEXT)
        return dnas_err_set(err, "names a Python object by what is no name");
    return push_global(vm, module->s, module->n, name->s, name->n, err);
}

/* The topmost n values become a tuple. */
static int op_tuple(struct vm *vm, size_t n, struct dnas_err *err)
{
    size_t first = vm->n_items;

    vm->items = dnas_xgrow(vm->items, &vm->cap_items, first + n, sizeof(*vm->items));
    for (size_t i = 0; i < n; i++) {
        if (!pop(vm, err))
            return -1;
        vm->items[first + n - 1 - i] = vm->stack[vm->n_stack];
    }
    vm->n_items += n;
    return push(vm, (struct value){.kind = TUPLE, .i = (int64_t)first, .n = n});
}

static int op_tuple_from_mark(struct vm *vm, size_t unused, struct dnas_err *err)
{
    size_t mark, n;

    (void)unused;
    if (find_mark(vm, &mark, err) != 0)
        return -1;
    n = vm->n_stack - mark - 1;
    memmove(&vm->stack[mark], &vm->stack[mark + 1], n * sizeof(*vm->stack));
    vm->n_stack--;
    return op_tuple(vm, n, err);
}

static int put(struct vm *vm, uint64_t index, struct dnas_err *err)
{
    if (!top(vm, err))
        return -1;
    if (index >= vm->n) /* picklers count from 0, and each needs an opcode */
        return dnas_err_set(err, "has a memo number out of range");
    vm->memo = dnas_xgrow(vm->memo, &vm->cap_memo, (size_t)index + 1, sizeof(*vm->memo));
    while (vm->n_memo <= index)
        vm->memo[vm->n_memo++] = 0;
    vm->memo[index] = vm->stack[vm->n_stack - 1] + 1;
    vm->n_memoized++;
    return 0;
}

static int op_put(struct vm *vm, size_t n_bytes, struct dnas_err *err)
{
    uint64_t index;

    return take_number(vm, n_bytes, &index, err) == 0 ? put(vm, index, err) : -1;
}

static int op_memoize(struct vm *vm, size_t unused, struct dnas_err *err)
{
    (void)unused;
    return put(vm, vm->n_memoized, err);
}

static int op_get(struct vm *vm, size_t n_bytes, struct dnas_err *err)
{
    uint64_t index;

    if (take_number(vm, n_bytes, &index, err) != 0)
        return -1;
    if (index >= vm->n_memo || vm->memo[index] == 0)
        return dnas_err_set(err, "asks for what it has not memoized");
    return push_old(vm, vm->memo[index] - 1);
}

/* Item i of a tuple where it is of that kind, else NULL. */
static const struct value *item(const struct vm *vm, const struct value *tuple, size_t i,
                                enum kind kind)
{
    const struct value *value;

    if (tuple->kind != TUPLE || i >= tuple->n)
        return NULL;
    value = &vm->values[vm->items[(size_t)tuple->i + i]];
    return value->kind == kind ? value : NULL;
}

/* ('storage', torch.FloatStorage, key, device, elements) */
static int op_persistent_id(struct vm *vm, size_t unused, struct dnas_err *err)
{
    const struct value *id = pop(vm, err), *word, *type, *key, *n;

    (void)unused;
    if (!id)
        return -1;
    word = item(vm, id, 0, TEXT);
    type = item(vm, id, 1, GLOBAL);
    key = item(vm, id, 2, TEXT);
    n = item(vm, id, 4, INT);
    if (!word || !type || !key || !n || !item(vm, id, 3, TEXT) || id->n != 5 || word->n != 7 ||
        memcmp(word->s, "storage", 7) != 0 || type->i != FLOAT_STORAGE || key->n > KEY_MAX_BYTES ||
        n->i < 0) {
        dnas_err_set(foreign(vm), "has a storage in a form that torch.save does not write");
        return push_inert(vm);
    }
    return push(vm, (struct value){.kind = STORAGE, .s = key->s, .n = key->n, .i = n->i});
}

static int natural_numbers(const struct vm *vm, const struct value *tuple, uint64_t *out)
{
    for (size_t d = 0; d < tuple->n; d++) {
        const struct value *x = item(vm, tuple, d, INT);

        if (!x || x->i < 0)
            return -1;
        out[d] = (uint64_t)x->i;
    }
    return 0;
}

/* (storage, offset, shape, stride, requires_grad, hooks) */
static int rebuild_tensor(struct vm *vm, const struct value *args)
{
    const struct value *storage = item(vm, args, 0, STORAGE), *offset = item(vm, args, 1, INT);
    const struct value *shape = item(vm, args, 2, TUPLE), *stride = item(vm, args, 3, TUPLE);
    struct torch_tensor t;

    if (!storage || !offset || offset->i < 0 || !shape || !stride || shape->n != stride->n ||
        !item(vm, args, 4, BOOL) || !item(vm, args, 5, ORDERED) || args->n != 6) {
        dnas_err_set(foreign(vm), "has a tensor in a form that torch.save does not write");
        return push_inert(vm);
    }
    if (shape->n > DNAS_TENSOR_DIMS_MAX) {
        dnas_err_set(foreign(vm), "has a tensor of %zu dimensions; %d at most can be read",
                     shape->n, DNAS_TENSOR_DIMS_MAX);
        return push_inert(vm);
    }
    t = (struct torch_tensor){.key = storage->s,
                              .key_len = storage->n,
                              .n_storage = (uint64_t)storage->i,
                              .offset = (uint64_t)offset->i,
                              .n_dims = (int)shape->n};
    if (natural_numbers(vm, shape, t.shape) != 0 || natural_numbers(vm, stride, t.stride) != 0) {
        dnas_err_set(foreign(vm), "has a tensor with a dimension that is no natural number");
        return push_inert(vm);
    }
    vm->tensors =
        dnas_xgrow(vm->tensors, &vm->cap_tensors, vm->n_tensors + 1, sizeof(*vm->tensors));
    vm->tensors[vm->n_tensors] = t;
    return push(vm, (struct value){.kind = TENSOR, .i = (int64_t)vm->n_tensors++});
}

/* A call or a new object of something else: inert. */
static int call_nothing(struct vm *vm, const struct value *callable, struct dnas_err *err)
{
    if (callable->kind != GLOBAL && callable->kind != INERT)
        return dnas_err_set(err, "calls what is no function");
    dnas_err_set(foreign(vm), "makes a call that torch.save does not write");
    return push_inert(vm);
}

static int op_reduce(struct vm *vm, size_t unused, struct dnas_err *err)
{
    const struct value *args = pop(vm, err), *callable = args ? pop(vm, err) : NULL;

    (void)unused;
    if (!callable)
        return -1;
    if (callable->kind == GLOBAL && callable->i == REBUILD_TENSOR)
        return rebuild_tensor(vm, args);
    if (callable->kind == GLOBAL && callable->i == ORDERED_DICT && args->kind == TUPLE &&
        args->n == 0)
        return push(vm, (struct value){.kind = ORDERED});
    return call_nothing(vm, callable, err);
}

/* Of an OrderedDict the attributes are the _metadata of a state dict.  Not needed. */
static int op_build(struct vm *vm, size_t unused, struct dnas_err *err)
{
    const struct value *state = pop(vm, err), *object = state ? top(vm, err) : NULL;

    (void)unused;
    if (!object)
        return -1;
    if (object->kind != INERT && (object->kind != ORDERED || state->kind != DICT))
        return dnas_err_set(err, "gives attributes to what is no OrderedDict");
    return 0;
}

/* The stack from `first` on holds keys and values for the dict below it, which
 * stands at `dict`. */
static int set_items(struct vm *vm, size_t dict, size_t first, struct dnas_err *err)
{
    enum kind kind = vm->values[vm->stack[dict]].kind;

    if (kind != DICT && kind != ORDERED && kind != INERT)
        return dnas_err_set(err, "sets items of what is no dict");
    if ((vm->n_stack - first) % 2 != 0)
        return dnas_err_set(err, "has a key without a value");
    for (size_t i = first; kind != INERT && i < vm->n_stack; i += 2) {
        if (vm->values[vm->stack[i]].kind != TEXT)
            dnas_err_set(foreign(vm), "has a key that is no text");
        vm->pairs = dnas_xgrow(vm->pairs, &vm->cap_pairs, vm->n_pairs + 1, sizeof(*vm->pairs));
        vm->pairs[vm->n_pairs++] =
            (struct pair){.dict = vm->stack[dict], .key = vm->stack[i], .value = vm->stack[i + 1]};
    }
    vm->n_stack = dict + 1;
    return 0;
}

static int op_set_item(struct vm *vm, size_t unused, struct dnas_err *err)
{
    (void)unused;
    if (vm->n_stack < 3 || vm->values[vm->stack[vm->n_stack - 1]].kind == MARK)
        return dnas_err_set(err, "takes more from its stack than is there");
    return set_items(vm, vm->n_stack - 3, vm->n_stack - 2, err);
}

static int op_set_items(struct vm *vm, size_t unused, struct dnas_err *err)
{
    size_t mark;

    (void)unused;
    if (find_mark(vm, &mark, err) != 0)
        return -1;
    if (mark == 0)
        return dnas_err_set(err, "takes more from its stack than is there");
    return set_items(vm, mark - 1, mark + 1, err);
}

/* ---- opcodes that no dict of tensors needs: what they make is inert ---- */

/* A list, a set; with n_bytes behind it a number. */
static int op_inert(struct vm *vm, size_t n_bytes, struct dnas_err *err)
{
    return take(vm, n_bytes, err) ? push_inert(vm) : -1;
}

/* Bytes, and integers beyond 255 bytes, after their number. */
static int op_bytes(struct vm *vm, size_t n_bytes, struct dnas_err *err)
{
    uint64_t n;

    return take_number(vm, n_bytes, &n, err) == 0 && take(vm, n, err) ? push_inert(vm) : -1;
}

static int op_pop(struct vm *vm, size_t unused, struct dnas_err *err)
{
    (void)unused;
    return pop(vm, err) ? 0 : -1;
}

/* Takes all from the topmost mark on off the stack. */
static int op_pop_mark(struct vm *vm, size_t unused, struct dnas_err *err)
{
    (void)unused;
    return find_mark(vm, &vm->n_stack, err);
}

static int op_frozenset(struct vm *vm, size_t unused, struct dnas_err *err)
{
    return op_pop_mark(vm, unused, err) == 0 ? push_inert(vm) : -1;
}

/* What takes items must be inert: a list, a set, an object. */
static int check_takes_items(struct vm *vm, struct dnas_err *err)
{
    const struct value *list = top(vm, err);

    if (list && list->kind != INERT)
        return dnas_err_set(err, "adds items to what is no list");
    return list ? 0 : -1;
}

static int op_append(struct vm *vm, size_t unused, struct dnas_err *err)
{
    return op_pop(vm, unused, err) == 0 ? check_takes_items(vm, err) : -1;
}

static int op_append_from_mark(struct vm *vm, size_t unused, struct dnas_err *err)
{
    return op_pop_mark(vm, unused, err) == 0 ? check_takes_items(vm, err) : -1;
}

/* A class and n sets of arguments. */
static int op_new_object(struct vm *vm, size_t n, struct dnas_err *err)
{
    const struct value *class = NULL;

    for (size_t i = 0; i <= n; i++)
        if (!(class = pop(vm, err)))
            return -1;
    return call_nothing(vm, class, err);
}

static const struct op {
    int (*run)(struct vm *vm, size_t arg, struct dnas_err *err);
    size_t arg;
    bool is_foreign;
} ops[256] = {
    [PROTO] = {op_proto, 1},
    [0x95] = {op_frame, 8},          /* FRAME */
    ['('] = {op_constant, MARK},     /* MARK */
    ['N'] = {op_constant, NONE},     /* NONE */
    [0x88] = {op_constant, BOOL},    /* NEWTRUE; which of the two does not matter */
    [0x89] = {op_constant, BOOL},    /* NEWFALSE */
    ['}'] = {op_constant, DICT},     /* EMPTY_DICT */
    ['K'] = {op_int, 1},             /* BININT1 */
    ['M'] = {op_int, 2},             /* BININT2 */
    ['J'] = {op_int, 4},             /* BININT */
    [0x8a] = {op_long1, 1},          /* LONG1 */
    [0x8c] = {op_text, 1},           /* SHORT_BINUNICODE */
    ['X'] = {op_text, 4},            /* BINUNICODE */
    ['c'] = {op_global, 0},          /* GLOBAL */
    [0x93] = {op_stack_global, 0},   /* STACK_GLOBAL */
    [')'] = {op_tuple, 0},           /* EMPTY_TUPLE */
    [0x85] = {op_tuple, 1},          /* TUPLE1 */
    [0x86] = {op_tuple, 2},          /* TUPLE2 */
    [0x87] = {op_tuple, 3},          /* TUPLE3 */
    ['t'] = {op_tuple_from_mark, 0}, /* TUPLE */
    ['q'] = {op_put, 1},             /* BINPUT */
    ['r'] = {op_put, 4},             /* LONG_BINPUT */
    [0x94] = {op_memoize, 0},        /* MEMOIZE */
    ['h'] = {op_get, 1},             /* BINGET */
    ['j'] = {op_get, 4},             /* LONG_BINGET */
    ['Q'] = {op_persistent_id, 0},   /* BINPERSID */
    ['R'] = {op_reduce, 0},          /* REDUCE */
    ['b'] = {op_build, 0},           /* BUILD */
    ['s'] = {op_set_item, 0},        /* SETITEM */
    ['u'] = {op_set_items, 0},       /* SETITEMS */

    ['G'] = {op_inert, 8, true},             /* BINFLOAT */
    [']'] = {op_inert, 0, true},             /* EMPTY_LIST */
    [0x8f] = {op_inert, 0, true},            /* EMPTY_SET */
    ['C'] = {op_bytes, 1, true},             /* SHORT_BINBYTES */
    ['B'] = {op_bytes, 4, true},             /* BINBYTES */
    [0x96] = {op_bytes, 8, true},            /* BYTEARRAY8 */
    [0x8b] = {op_bytes, 4, true},            /* LONG4 */
    ['0'] = {op_pop, 0, true},               /* POP */
    ['1'] = {op_pop_mark, 0, true},          /* POP_MARK */
    ['a'] = {op_append, 0, true},            /* APPEND */
    ['e'] = {op_append_from_mark, 0, true},  /* APPENDS */
    [0x90] = {op_append_from_mark, 0, true}, /* ADDITEMS */
    [0x91] = {op_frozenset, 0, true},        /* FROZENSET */
    [0x81] = {op_new_object, 1, true},       /* NEWOBJ */
    [0x92] = {op_new_object, 2, true},       /* NEWOBJ_EX */
};

/* ---- the machine ---- */

static int run(struct vm *vm, struct dnas_err *err)
{
    if (vm->n == 0 || vm->bytes[0] != PROTO)
        return dnas_err_set(err, "is no pickle of protocol 2 to 5");
    for (;;) {
        const unsigned char *code = take(vm, 1, err);
        size_t at = vm->at - 1;

        if (!code)
            return -1;
        if (*code == STOP)
            break;
        if (!ops[*code].run || ops[*code].is_foreign)
            dnas_err_set(ops[*code].run ? foreign(vm) : err,
                         "has an opcode (0x%02x at byte %zu) that torch.save does not write for "
                         "a dict of tensors",
                         *code, at);
        if (!ops[*code].run)
            return -1;
        if (ops[*code].run(vm, ops[*code].arg, err) != 0)
            return -1;
    }
    if (vm->at != vm->n)
        return dnas_err_set(err, "goes on after its end");
    return 0;
}

static bool is_dict(const struct value *value)
{
    return value->kind == DICT || value->kind == ORDERED;
}

/* Of a training run's checkpoint its "state_dict"; NULL where there is none. */
static int find_state_dict(const struct value **out, const struct vm *vm, const struct value *root,
                           struct dnas_err *err)
{
    static const char name[] = "state_dict";

    *out = NULL;
    for (size_t i = 0; i < vm->n_pairs; i++) {
        const struct value *key = &vm->values[vm->pairs[i].key];
        const struct value *value = &vm->values[vm->pairs[i].value];

        if (&vm->values[vm->pairs[i].dict] != root || key->kind != TEXT ||
            key->n != sizeof(name) - 1 || memcmp(key->s, name, key->n) != 0 || !is_dict(value))
            continue;
        if (*out)
            return dnas_err_set(err, "holds '%s' twice", name);
        *out = value;
    }
    return 0;
}

/* What the pickle leaves on its stack must be a dict of tensors, or hold one.  A
 * name may not come twice, so the texts of all names are not longer than the
 * pickle. */
static int collect(struct vm *vm, struct torch_tensor **out, size_t *n_out, struct dnas_err *err)
{
    const struct value *root = vm->n_stack == 1 ? top(vm, err) : NULL, *state = NULL;
    size_t cap = 0;

    if (root && is_dict(root) && find_state_dict(&state, vm, root, err) != 0)
        return -1;
    if (state)
        root = state;
    else if (vm->foreign.msg[0] != '\0')
        return dnas_err_set(err, "%s", vm->foreign.msg);
    if (!root || !is_dict(root))
        return dnas_err_set(err, "holds no dict of tensors");
    for (size_t i = 0; i < vm->n_pairs; i++) {
        struct value *key = &vm->values[vm->pairs[i].key];
        const struct value *value = &vm->values[vm->pairs[i].value];
        int n_shown = (int)(key->n < 200 ? key->n : 200);

        if (&vm->values[vm->pairs[i].dict] != root)
            continue;
        if (key->kind != TEXT)
            return dnas_err_set(err, "has a key that is no text");
        if (value->kind == INERT)
            return dnas_err_set(err, "holds '%.*s', which is no f32 tensor; try safetensors",
                                n_shown, key->s);
        if (value->kind != TENSOR)
            return dnas_err_set(err,
                                "holds '%.*s', which is no tensor; try saving the state dict "
                                "alone",
                                n_shown, key->s);
        if (key->is_name)
            return dnas_err_set(err, "holds '%.*s' twice", n_shown, key->s);
        if (key->n == 0)
            return dnas_err_set(err, "holds a tensor without a name");
        key->is_name = true;
        *out = dnas_xgrow(*out, &cap, *n_out + 1, sizeof(**out));
        (*out)[*n_out] = vm->tensors[value->i];
        (*out)[*n_out].name = key->s;
        (*out)[*n_out].name_len = key->n;
        ++*n_out;
    }
    return 0;
}

int torch_unpickle(struct torch_tensor **out, size_t *n_out, const unsigned char *bytes, size_t n,
                   struct dnas_err *err)
{
    struct vm vm = {.bytes = bytes, .n = n};
    int status;

    *out = NULL;
    *n_out = 0;
    status = run(&vm, err);
    if (status == 0)
        status = collect(&vm, out, n_out, err);
    free(vm.values);
    free(vm.stack);
    free(vm.items);
    free(vm.memo);
    free(vm.pairs);
    free(vm.tensors);
    if (status == 0)
        return 0;
    free(*out);
    *out = NULL;
    return -1;
}

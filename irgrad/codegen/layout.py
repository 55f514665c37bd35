"""The words of a program's tables, as the native driver reads them and the linker writes them."""

# header words
NUM_ARGS, ARG_TABLE, ROWS, REFS, NUM_OUTS, FIRST_ARG_BASE, LAST_ROW = range(7)
# argument kinds; each has ARG_WORDS words in the argument table: kind, type address, dtype address, ndim, shape and strides address
ARRAY, NUMBER, FREE = 1, 2, 3
ARG_WORDS = 6
# row words: kernel address or opcode, first reference, number of references (or guard width), sizes address (or guard table,
# or where a return counts its calls)
ROW_WORDS = 4
OP_GUARD, OP_HOST, OP_RETURN = 1, 2, 3
# results of the driver: code + 16 * row
DONE, MISMATCH, NEW_PATH, HOST, FAILED = range(5)
REF_BITS = 16

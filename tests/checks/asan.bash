# Compiles and runs under AddressSanitizer with leak detection, from here on; sourced by the scripts that do.

export RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=address -C force-frame-pointers=yes"
# Locals stay on the stack: a stack canary is one, and so are the addresses that walks are compared with.
# Some tests ask for more memory than there is.
export ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=0:allocator_may_return_null=1

//! The examples are run as they are: each checks itself what was freed.

#[path = "../examples/cycles.rs"]
mod cycles;
#[path = "../examples/jit.rs"]
mod jit;

#[test]
fn the_example_frees_each_object_after_its_last_use() {
    jit::main().expect("the example runs");
}

#[test]
fn the_example_of_a_cycle_frees_both_objects() {
    cycles::main();
}

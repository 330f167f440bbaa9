//! The example is run as it is: it checks itself what was freed, and when.

#[path = "../examples/jit.rs"]
mod jit;

#[test]
fn the_example_frees_each_object_after_its_last_use() {
    jit::main().expect("the example runs");
}

//! The examples are run as they are: each checks itself what was freed.
//!
//! Cranelift has no code generator for 32-bit hosts, and the coroutines of one example none for
//! `s390x`.

#![cfg(target_pointer_width = "64")]

#[path = "../examples/activations.rs"]
mod activations;
#[path = "../examples/cycles.rs"]
mod cycles;
#[cfg(not(target_arch = "s390x"))]
#[path = "../examples/fibers.rs"]
mod fibers;
#[path = "../examples/jit.rs"]
mod jit;
#[path = "../examples/load_unload.rs"]
mod load_unload;
#[path = "../examples/own_walker.rs"]
mod own_walker;
#[path = "../examples/port.rs"]
mod port;
#[path = "../examples/threads.rs"]
mod threads;

#[test]
fn the_example_frees_each_object_after_its_last_use() {
    jit::main().expect("the example runs");
}

#[test]
fn the_example_of_a_cycle_frees_both_objects() {
    cycles::main();
}

#[test]
fn the_example_without_an_unwinder_frees_each_object_after_its_last_use() {
    activations::main().expect("the example runs");
}

#[test]
fn the_example_of_a_walker_agrees_with_a_second_account() {
    own_walker::main().expect("the example runs");
}

#[test]
fn the_example_of_threads_moves_stores() {
    threads::main().expect("the example runs");
}

#[test]
fn the_example_of_code_that_comes_and_goes_frees_nothing_alive() {
    load_unload::main().expect("the example runs");
}

#[test]
fn the_example_of_the_original_interface_collects() {
    port::main().expect("the example runs");
}

#[cfg(not(target_arch = "s390x"))]
#[test]
fn the_example_of_fibers_keeps_what_suspended_guests_hold() {
    fibers::main().expect("the example runs");
}

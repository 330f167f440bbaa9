//! Each loader on its seeds, and on damaged ones.

use vmexternref_loaders::{LOADERS, Loader};

#[test]
fn there_are_seeds_for_each_loader() {
    for loader in &LOADERS {
        let seeds = (loader.seeds)();
        assert!(seeds.len() > 10, "{}: {}", loader.name, seeds.len());
        for seed in seeds {
            loader.check(seed);
        }
    }
}

/// Runs one loader on damaged seeds for a second.
fn damaged(name: &str) {
    let loader = Loader::named(name).expect("it is in the list");
    (loader.seeds)();
    arbtest::arbtest(|u| {
        loader.check(&loader.arbitrary(u)?);
        Ok(())
    })
    .budget_ms(1000);
}

#[test]
fn damaged_modules_are_refused_or_compile() {
    damaged("wasm");
}

#[test]
fn damaged_texts_are_refused_or_mean_something_else() {
    damaged("text");
}

#[test]
fn damaged_object_files_are_refused_or_load() {
    damaged("object_file");
}

#[test]
fn damaged_stack_maps_are_refused_or_can_be_registered() {
    damaged("stack_maps");
}

#[test]
fn damaged_unwind_tables_are_refused_or_well_formed() {
    damaged("unwind_tables");
}

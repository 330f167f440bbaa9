//! The programs with cycles as people run them: what they print, and that each collection of cycles
//! is told.

use crate::WALKS;
use crate::command_line::accepts;

/// What each program prints between the name of the walker and `alive: 0`.
///
/// Those of `random_graph` are the cells that were made, the most that were reachable at a check,
/// and the sum over all checks, as another model in another language counts them.
const PRINTED: [(&str, &[&str]); 6] = [
    ("cycle_in_frame", &["0"]),
    ("cycle_in_table", &["10", "5"]),
    ("cyclic_garbage", &["0"]),
    ("linked_list", &["99", "50"]),
    ("random_graph", &["578", "19", "2648", "0"]),
    ("weak_references", &["5", "0"]),
];

#[test]
fn programs_with_cycles_print_what_they_found() {
    for (name, printed) in PRINTED {
        let program = crate::programs::folder().join(name).with_extension("wat");
        let program = program.to_str().unwrap();
        for &(engine, walker) in WALKS {
            for zeal in [false, true] {
                let [engine, walker] = [engine.to_string(), walker.to_string()];
                let mut args = vec!["run", program, "--engine", &engine, "--walker", &walker];
                args.extend(zeal.then_some("--zeal"));
                let (told, other): (Vec<_>, Vec<_>) = accepts(&args)
                    .into_iter()
                    .filter(|line| !line.starts_with("gc: ") && !line.starts_with("objects: "))
                    .partition(|line| line.starts_with("cycles: "));
                let first = format!("walker: {walker}");
                let expected = [&[&*first], printed, &["alive: 0"]].concat();
                assert_eq!(other, expected, "{args:?}");
                let collected = told
                    .iter()
                    .filter(|line| line.contains("collected: traced"));
                assert!(collected.count() >= 3, "{args:?}: {told:?}");
            }
        }
    }
}

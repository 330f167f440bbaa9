//! Runs a script, one directive after the other.

use super::instances::{Instances, Refusal};
use super::report::{Report, Step, Verdict};
use super::values;
use crate::error::EngineError;
use crate::session::{Session, Settings};
use crate::source;
use std::path::Path;
use vmexternref_engine_compiler::CompileError;
use vmexternref_engine_host::Shown;
use vmexternref_engine_runtime::{CallError, Extern, InstantiateError, Trap, TrapCode, Val};
use wast::parser;
use wast::token::{Id, Span};
use wast::{QuoteWat, Wast, WastDirective, WastExecute, WastInvoke, WastRet, Wat};

/// Runs the script in the file `path` in a store of its own.
///
/// # Errors
///
/// When the file cannot be read or the store cannot be set up. Failures of the script are in the
/// report.
pub fn run_script(path: &Path, settings: &Settings) -> Result<Report, EngineError> {
    match String::from_utf8(source::read(path)?) {
        Ok(text) => run_script_text(path, &text, settings),
        Err(error) => {
            let mut report = Report::default();
            report.record(path, 1, Err(Verdict::failed(error)));
            Ok(report)
        }
    }
}

/// Runs the script `text`. Its failures are reported with the name `path`.
///
/// # Errors
///
/// When the store cannot be set up. Failures of the script are in the report.
pub fn run_script_text(
    path: &Path,
    text: &str,
    settings: &Settings,
) -> Result<Report, EngineError> {
    let runner = Runner {
        instances: Instances::new(Session::new(settings)?),
    };
    let mut report = Report::default();
    let line_of = |span: Span| span.linecol_in(text).0 + 1;
    let outcome = source::tokens(text).and_then(|buffer| {
        let script = parser::parse::<Wast<'_>>(&buffer)?;
        runner.run_all(script, |span, outcome| {
            report.record(path, line_of(span), outcome);
        });
        Ok(())
    });
    if let Err(error) = outcome {
        let verdict = Verdict::failed(format_args!("malformed script: {}", error.message()));
        report.record(path, line_of(error.span()), Err(verdict));
    }
    Ok(report)
}

/// The outcome of a call or an instantiation.
enum Outcome {
    Returned(Vec<Val>),
    Trapped(Trap),
}

struct Runner {
    instances: Instances,
}

impl Runner {
    /// Runs the directives, and then checks that no host object outlives their store.
    fn run_all(mut self, script: Wast<'_>, mut record: impl FnMut(Span, Step<()>)) {
        let mut last = Span::from_offset(0);
        for directive in script.directives {
            last = directive.span();
            record(last, self.run(directive));
        }
        let alive = self.instances.finish();
        if alive != 0 {
            record(last, Err(Verdict::failed(EngineError::StillAlive(alive))));
        }
    }

    fn run(&mut self, directive: WastDirective<'_>) -> Step<()> {
        match directive {
            WastDirective::Module(module) => self.instances.module(module),
            WastDirective::ModuleDefinition(module) => self.instances.define(module),
            WastDirective::ModuleInstance {
                instance, module, ..
            } => self.instances.instantiate_definition(instance, module),
            WastDirective::Register { name, module, .. } => self.instances.register(name, module),
            WastDirective::Invoke(invoke) => match self.invoke(&invoke)? {
                Outcome::Returned(_) => Ok(()),
                Outcome::Trapped(trap) => Err(Verdict::failed(format_args!("trap: {trap}"))),
            },
            WastDirective::AssertReturn { exec, results, .. } => self.assert_return(exec, &results),
            WastDirective::AssertTrap { exec, message, .. } => self.assert_trap(exec, message),
            WastDirective::AssertExhaustion { call, .. } => self.assert_exhaustion(&call),
            WastDirective::AssertMalformed { module, .. }
            | WastDirective::AssertMalformedCustom { module, .. }
            | WastDirective::AssertInvalid { module, .. }
            | WastDirective::AssertInvalidCustom { module, .. } => self.assert_refused(module),
            WastDirective::AssertUnlinkable {
                module, message, ..
            } => self.assert_unlinkable(module, message),
            WastDirective::AssertException { .. } => Err(Verdict::lacks("exception handling")),
            WastDirective::AssertSuspension { .. } => Err(Verdict::lacks("stack switching")),
            WastDirective::Thread(_) | WastDirective::Wait { .. } => Err(Verdict::lacks("threads")),
        }
    }

    fn invoke(&self, invoke: &WastInvoke<'_>) -> Step<Outcome> {
        let instance = self.instances.instance(invoke.module)?;
        let Some(Extern::Func(func)) = instance.export(invoke.name) else {
            let message = format_args!("no exported function {:?}", invoke.name);
            return Err(Verdict::failed(message));
        };
        let arguments = invoke
            .args
            .iter()
            .map(|argument| values::argument(argument, self.instances.session().census()))
            .collect::<Result<Vec<_>, _>>()?;
        match func.call(self.instances.session().store(), &arguments) {
            Ok(results) => Ok(Outcome::Returned(results)),
            Err(CallError::Trap(trap)) => Ok(Outcome::Trapped(trap)),
            Err(error) => Err(Verdict::failed(error)),
        }
    }

    fn read_global(&self, module: Option<Id<'_>>, name: &str) -> Step<Val> {
        match self.instances.instance(module)?.export(name) {
            Some(Extern::Global(global)) => global
                .value(self.instances.session().store())
                .map_err(Verdict::failed),
            _ => Err(Verdict::failed(format_args!("no exported global {name:?}"))),
        }
    }

    fn execute(&self, execute: WastExecute<'_>) -> Step<Outcome> {
        match execute {
            WastExecute::Invoke(invoke) => self.invoke(&invoke),
            WastExecute::Get { module, global, .. } => {
                let value = self.read_global(module, global)?;
                Ok(Outcome::Returned(vec![value]))
            }
            WastExecute::Wat(wat) => match self.instances.instantiate(&mut QuoteWat::Wat(wat)) {
                Ok(_) => Ok(Outcome::Returned(Vec::new())),
                Err(Refusal::Later(EngineError::Instantiate(InstantiateError::Trap(trap)))) => {
                    Ok(Outcome::Trapped(trap))
                }
                Err(refusal) => Err(refusal.into()),
            },
        }
    }

    fn assert_return(&self, execute: WastExecute<'_>, expected: &[WastRet<'_>]) -> Step<()> {
        let results = match self.execute(execute)? {
            Outcome::Returned(results) => results,
            Outcome::Trapped(trap) => {
                return Err(Verdict::failed(format_args!("trap: {trap}")));
            }
        };
        if results.len() != expected.len() {
            let message = format_args!("{} results, not {}", results.len(), expected.len());
            return Err(Verdict::failed(message));
        }
        for (index, (value, pattern)) in results.iter().zip(expected).enumerate() {
            if !values::matches(value, pattern)? {
                let message = format_args!("result {index} is {}, not {pattern:?}", Shown(value));
                return Err(Verdict::failed(message));
            }
        }
        Ok(())
    }

    fn assert_trap(&self, execute: WastExecute<'_>, expected: &str) -> Step<()> {
        match self.execute(execute)? {
            Outcome::Trapped(trap) if same_trap(expected, &trap.to_string()) => Ok(()),
            Outcome::Trapped(trap) => Err(Verdict::failed(format_args!(
                "the trap is {trap:?}, not {expected:?}",
                trap = trap.to_string()
            ))),
            Outcome::Returned(_) => Err(Verdict::failed("no trap")),
        }
    }

    fn assert_exhaustion(&self, call: &WastInvoke<'_>) -> Step<()> {
        match self.invoke(call)? {
            Outcome::Trapped(trap) if trap.code == TrapCode::StackOverflow => Ok(()),
            Outcome::Trapped(trap) => Err(Verdict::failed(format_args!("trap: {trap}"))),
            Outcome::Returned(_) => Err(Verdict::failed("the stack was enough")),
        }
    }

    /// Passes if the module is refused: as text, as binary, or because it needs a missing feature.
    ///
    /// A script that is older than a feature calls a module invalid that needs the feature. The
    /// text parser accepts some modules for the sake of a missing feature, such as large offsets;
    /// the validator refuses them.
    fn assert_refused(&self, mut module: QuoteWat<'_>) -> Step<()> {
        match self.instances.compile(&mut module) {
            Err(
                Refusal::Text(_)
                | Refusal::Module(CompileError::Invalid { .. } | CompileError::Unsupported(_)),
            ) => Ok(()),
            Err(refusal) => Err(refusal.into()),
            Ok(_) => Err(Verdict::failed("the module is valid")),
        }
    }

    fn assert_unlinkable(&self, module: Wat<'_>, expected: &str) -> Step<()> {
        let error = match self.instances.instantiate(&mut QuoteWat::Wat(module)) {
            Err(Refusal::Later(EngineError::Instantiate(error))) => error,
            Err(refusal) => return Err(refusal.into()),
            Ok(_) => return Err(Verdict::failed("the module links")),
        };
        let kind = match &error {
            InstantiateError::UnknownImport { .. } => "unknown import",
            InstantiateError::IncompatibleImport { .. } => "incompatible import type",
            other => return Err(Verdict::failed(other)),
        };
        // Scripts from elsewhere expect the messages of another engine.
        let specified = ["unknown import", "incompatible import type"].contains(&expected);
        if specified && expected != kind {
            return Err(Verdict::failed(format_args!("{error}, not {expected:?}")));
        }
        Ok(())
    }
}

/// Whether the trap `actual` is the one that a script expects.
///
/// The message of a script may be longer than the engine's (`uninitialized element 2`), or shorter.
/// Older scripts call every access outside of a table an undefined element.
fn same_trap(expected: &str, actual: &str) -> bool {
    let undefined = ["undefined element", "out of bounds table access"];
    let outside = |message: &str| undefined.iter().any(|words| message.starts_with(words));
    actual.contains(expected) || expected.contains(actual) || outside(expected) && outside(actual)
}

#[cfg(test)]
mod tests {
    use super::same_trap;

    #[test]
    fn traps_are_compared_by_what_both_say() {
        assert!(same_trap(
            "uninitialized element 2",
            "uninitialized element"
        ));
        assert!(same_trap("undefined element", "out of bounds table access"));
        assert!(same_trap("integer", "integer overflow"));
        assert!(!same_trap("unreachable", "integer overflow"));
        assert!(!same_trap("undefined element", "uninitialized element"));
    }
}

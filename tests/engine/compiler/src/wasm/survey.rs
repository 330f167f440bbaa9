//! Counts what a module has and will ask of the compiler, before it is validated.
//!
//! A pass over the module in linear time. Validation, translation and code generation may take more
//! than that, within the allowances that this pass checks. It leaves malformed modules to
//! validation, which reads in the same order and stops at the same place.

use crate::error::CompileError;
use crate::limits::{CompileLimits, PIECE, at_most};
use crate::wasm::shape::Shape;
use crate::wasm::usage::{LocalUse, Usage};
use core::iter;
use wasmparser::{FunctionBody, Operator, Parser, Payload, TypeRef, ValType};

/// Checks that a module is within the limits.
pub(crate) fn survey(wasm: &[u8], limits: &CompileLimits) -> Result<(), CompileError> {
    let bytes = wasm.len() as u64;
    at_most(bytes, limits.module_bytes, "bytes of a module")?;
    let mut survey = Survey {
        limits,
        bytes,
        operands: 0,
        live_values: 0,
        live_references: 0,
        imports: 0,
        bodies: 0,
        shape: Shape::default(),
        called: Vec::new(),
    };
    for payload in Parser::new(0).parse_all(wasm) {
        match payload
            .map_err(Stop::from)
            .and_then(|one| survey.payload(one))
        {
            Ok(()) => {}
            Err(Stop::Malformed) => break,
            Err(Stop::Refused(error)) => return Err(error),
        }
    }
    Ok(())
}

/// Why a survey ends early.
enum Stop {
    /// Validation will say what is wrong.
    Malformed,
    /// A limit is exceeded.
    Refused(CompileError),
}

impl From<wasmparser::Error> for Stop {
    fn from(_: wasmparser::Error) -> Self {
        Self::Malformed
    }
}

impl From<CompileError> for Stop {
    fn from(error: CompileError) -> Self {
        Self::Refused(error)
    }
}

struct Survey<'l> {
    limits: &'l CompileLimits,
    /// Bytes of the module.
    bytes: u64,
    operands: u64,
    live_values: u64,
    live_references: u64,
    /// The number of imports so far.
    imports: u64,
    /// The number of function bodies so far.
    bodies: usize,
    shape: Shape,
    /// For each type whether it has been counted.
    called: Vec<bool>,
}

impl Survey<'_> {
    fn payload(&mut self, payload: Payload<'_>) -> Result<(), Stop> {
        let limits = self.limits;
        match payload {
            Payload::TypeSection(section) => {
                at_most(section.count().into(), limits.types, "types")?;
                for group in section {
                    self.shape.types.extend(group?.into_types());
                }
                self.called.resize(self.shape.types.len(), false);
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    self.import(import?.ty)?;
                }
            }
            Payload::FunctionSection(section) => {
                at_most(section.count().into(), limits.functions, "functions")?;
                for ty in section {
                    self.shape.functions.push(ty?);
                }
            }
            Payload::GlobalSection(section) => {
                at_most(section.count().into(), limits.globals, "globals")?;
            }
            Payload::ExportSection(section) => {
                at_most(section.count().into(), limits.exports, "exports")?;
            }
            Payload::ElementSection(section) => {
                at_most(section.count().into(), limits.elements, "element segments")?;
            }
            Payload::DataSection(section) => {
                at_most(section.count().into(), limits.data, "data segments")?;
            }
            Payload::CodeSectionEntry(body) => self.body(&body)?,
            _ => {}
        }
        Ok(())
    }

    fn import(&mut self, ty: TypeRef) -> Result<(), Stop> {
        self.imports += 1;
        at_most(self.imports, self.limits.imports, "imports")?;
        if let TypeRef::Func(index) = ty {
            self.shape.imported += 1;
            self.shape.functions.push(index);
            self.pieces(1, index)?;
            self.trampolines(index)?;
        }
        Ok(())
    }

    /// Adds pieces of code of that type.
    fn pieces(&mut self, count: u64, ty: u32) -> Result<(), CompileError> {
        let (params, results) = self.shape.arity_of_type(ty);
        self.operands(count * (PIECE + params + results))
    }

    /// Adds the trampolines of a type, if it has none yet.
    fn trampolines(&mut self, ty: u32) -> Result<(), CompileError> {
        match self.called.get_mut(ty as usize) {
            Some(called) if !*called => {
                *called = true;
                self.pieces(2, ty)
            }
            _ => Ok(()),
        }
    }

    fn operands(&mut self, more: u64) -> Result<(), CompileError> {
        self.operands = self.operands.saturating_add(more);
        let most = self.limits.operands.of(self.bytes);
        at_most(self.operands, most, "operands")
    }

    fn body(&mut self, body: &FunctionBody<'_>) -> Result<(), Stop> {
        let function = self.shape.functions.get(self.shape.imported + self.bodies);
        let ty = *function.ok_or(Stop::Malformed)?;
        self.bodies += 1;
        let bytes = body.range().len() as u64;
        at_most(bytes, self.limits.function_bytes, "bytes of a function")?;
        self.pieces(1, ty)?;
        self.trampolines(ty)?;
        let locals = body.get_locals_reader()?.into_iter();
        let locals: Vec<(u32, ValType)> = locals.collect::<wasmparser::Result<_>>()?;
        let declared = locals.iter().map(|(count, _)| u64::from(*count)).sum();
        at_most(declared, self.limits.locals, "locals of a function")?;
        let known = u32::try_from(self.shape.arity_of_type(ty).0 + declared);
        let known = known.map_err(|_| Stop::Malformed)?;

        let mut usage = Usage::default();
        let Counts {
            instructions,
            loops,
            heights,
        } = self.operators(body, ty, known, &mut usage)?;
        let (kept, references) = self.kept(&usage, ty, &locals);
        self.operands(loops * kept)?;
        self.live_values += heights + instructions * kept;
        self.live_references += heights + instructions * references;
        let (values, references) = (self.limits.live_values, self.limits.live_references);
        at_most(self.live_values, values.of(self.bytes), "live values")?;
        at_most(
            self.live_references,
            references.of(self.bytes),
            "live references",
        )?;
        for ty in usage.called_types {
            self.trampolines(ty)?;
        }
        Ok(())
    }

    /// Counts the instructions of a body with so many locals.
    fn operators(
        &mut self,
        body: &FunctionBody<'_>,
        ty: u32,
        locals: u32,
        usage: &mut Usage,
    ) -> Result<Counts, Stop> {
        self.shape.start(ty);
        let mut counts = Counts::default();
        let mut reader = body.get_operators_reader()?;
        while !reader.eof() {
            let operator = reader.read()?;
            let cost = self.shape.step(&operator);
            self.operands(cost)?;
            at_most(self.shape.depth(), self.limits.depth, "nested blocks")?;
            usage.see(&operator, locals);
            counts.instructions += 1;
            counts.loops += u64::from(matches!(operator, Operator::Loop { .. }));
            counts.heights += self.shape.height();
        }
        Ok(counts)
    }

    /// The number of locals that have to be kept somewhere, and of those that are references.
    ///
    /// A local that is no parameter and to which the body does not assign is a constant.
    fn kept(&self, usage: &Usage, ty: u32, locals: &[(u32, ValType)]) -> (u64, u64) {
        let params = self.shape.params(ty);
        let declared = locals
            .iter()
            .flat_map(|&(count, ty)| iter::repeat_n(ty, count as usize));
        let all = params.iter().copied().chain(declared).take(usage.locals());
        let kept = all
            .enumerate()
            .filter(|&(index, _)| match usage.local(index) {
                LocalUse::Assigned => true,
                LocalUse::Read => index < params.len(),
                LocalUse::None => false,
            });
        kept.fold((0, 0), |(all, references), (_, ty)| {
            (all + 1, references + u64::from(ty == ValType::EXTERNREF))
        })
    }
}

/// What is in a function's body.
#[derive(Default)]
struct Counts {
    instructions: u64,
    loops: u64,
    /// The operands on the stack, in the sum over all instructions.
    heights: u64,
}

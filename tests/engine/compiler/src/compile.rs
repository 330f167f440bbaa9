//! From a Wasm binary to a compiled module.

use crate::emit::{self, Emitter, Environment, Guarded, Symbol, UNGUARDED_FRAME_BYTES};
use crate::error::CompileError;
use crate::isa::{self, CompileOptions};
use crate::output::{FinishedText, Text};
use crate::translate::translate;
use crate::wasm::{self, Metadata, Usage};
use core::mem;
use core::ops::Range;
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir::{Function, Signature, UserFuncName};
use cranelift_codegen::{CompiledCode, Context};
use cranelift_frontend::FunctionBuilderContext;
use vmexternref_engine_abi::{CompiledModule, FuncType};

/// Compiles a Wasm binary.
///
/// ```
/// use vmexternref_engine_compiler::{CompileOptions, compile};
///
/// let wasm = b"\0asm\x01\0\0\0";
/// let module = compile(wasm, &CompileOptions::default())?;
/// assert!(module.functions.is_empty());
/// # Ok::<(), vmexternref_engine_compiler::CompileError>(())
/// ```
///
/// # Errors
///
/// When the module is invalid, needs an unsupported feature, exceeds a limit, or cannot be compiled
/// for the target.
pub fn compile(binary: &[u8], options: &CompileOptions) -> Result<CompiledModule, CompileError> {
    let isa = isa::build(options)?;
    wasm::survey(binary, &options.limits)?;
    wasm::validate(binary)?;
    let metadata = wasm::read(binary, isa::target(isa.as_ref()), options.zeal)?;
    let mut compiler = Compiler::new(Environment::new(isa.as_ref(), &metadata));
    let functions = compiler.functions()?;
    let (entry_trampolines, exit_trampolines) = compiler.trampolines()?;
    compiler.builtins()?;
    let FinishedText {
        bytes,
        eh_frame,
        stack_maps,
        return_addresses,
        calls,
    } = compiler.text.finish(isa.as_ref())?;
    let Metadata { mut module, .. } = metadata;
    module.origin.calls = calls;
    Ok(CompiledModule {
        text: bytes,
        eh_frame,
        functions,
        entry_trampolines,
        exit_trampolines,
        stack_maps,
        return_addresses,
        ..module
    })
}

/// One piece of generated code.
struct Code {
    function: Function,
    code: CompiledCode,
}

impl Code {
    /// Bytes between the stack pointer and the frame pointer.
    fn frame_bytes(&self) -> u32 {
        let layout = self.code.buffer.frame_layout();
        layout.map_or(0, |layout| layout.frame_to_fp_offset)
    }
}

/// Where the trampoline of each type starts in the text, if it has one.
type Trampolines = Vec<Option<u32>>;

/// Compiles the pieces of code of one module.
struct Compiler<'m> {
    env: Environment<'m>,
    text: Text,
    context: Context,
    builder_context: FunctionBuilderContext,
    /// For each type whether functions that may be the host's are called with it.
    leaving: Vec<bool>,
}

impl<'m> Compiler<'m> {
    fn new(env: Environment<'m>) -> Self {
        Self {
            text: Text::new(env.isa),
            leaving: vec![false; env.metadata.module.types.len()],
            env,
            context: Context::new(),
            builder_context: FunctionBuilderContext::new(),
        }
    }

    /// Generates code into the context.
    fn generate(
        &mut self,
        symbol: Symbol,
        signature: Signature,
        build: impl FnOnce(Emitter<'_, '_>) -> Result<(), CompileError>,
    ) -> Result<Code, CompileError> {
        let name = UserFuncName::User(symbol.external_name());
        self.context.clear();
        self.context.func = Function::with_name_signature(name, signature);
        build(Emitter::new(
            &mut self.context.func,
            &mut self.builder_context,
            &self.env,
        ))?;
        self.context
            .compile(self.env.isa, &mut ControlPlane::default())
            .map_err(|error| CompileError::backend(error.inner))?;
        let code = self.context.take_compiled_code();
        Ok(Code {
            function: mem::replace(&mut self.context.func, Function::new()),
            code: code.ok_or_else(|| CompileError::Backend("no code".into()))?,
        })
    }

    fn append(&mut self, symbol: Symbol, code: &Code) -> Result<Range<u32>, CompileError> {
        self.text
            .append(symbol, &code.function, &code.code, self.env.isa)
    }

    /// Appends code with the convention of Wasm functions, behind a guard if its frame is large.
    ///
    /// An interpreter checks the limit of its stack before it makes a frame.
    fn append_guarded(
        &mut self,
        guarded: Guarded,
        ty: &FuncType,
        build: impl FnOnce(Emitter<'_, '_>) -> Result<(), CompileError>,
    ) -> Result<Range<u32>, CompileError> {
        let signature = self.env.wasm_signature(ty);
        let code = self.generate(guarded.code, signature.clone(), build)?;
        let frame_bytes = code.frame_bytes();
        if self.env.interpreted || frame_bytes <= UNGUARDED_FRAME_BYTES {
            return self.append(guarded.guard, &code);
        }
        let guard = self.generate(guarded.guard, signature, |emit| {
            guarded.build(emit, ty, frame_bytes);
            Ok(())
        })?;
        let start = self.append(guarded.guard, &guard)?.start;
        let end = self.append(guarded.code, &code)?.end;
        Ok(start..end)
    }

    fn functions(&mut self) -> Result<Vec<Range<u32>>, CompileError> {
        let metadata = self.env.metadata;
        let mut ranges = Vec::with_capacity(metadata.bodies.len());
        for (index, body) in (0..).zip(&metadata.bodies) {
            let ty = metadata.function_type(metadata.imported_functions + index)?;
            let ty = metadata.ty(ty)?;
            let usage = Usage::of(body)?;
            for called in &usage.called_types {
                self.leaving[*called as usize] = true;
            }
            let range = self.append_guarded(Guarded::function(index), ty, |emit| {
                translate(emit, ty, body, &usage)
            })?;
            ranges.push(range);
        }
        Ok(ranges)
    }

    /// The entry trampolines of types whose functions the host may call, and the exit trampolines
    /// of types with which the host may be called.
    fn trampolines(&mut self) -> Result<(Trampolines, Trampolines), CompileError> {
        let metadata = self.env.metadata;
        let (imported, defined) = metadata.functions();
        for ty in imported {
            self.leaving[*ty as usize] = true;
        }
        let mut entered = vec![false; metadata.module.types.len()];
        for function in metadata.module.given_away() {
            let index = function.checked_sub(metadata.imported_functions);
            if let Some(index) = index {
                entered[*wasm::item(defined, index)? as usize] = true;
            }
        }
        let (mut entries, mut exits) = (Vec::new(), Vec::new());
        for (index, ty) in (0..).zip(&metadata.module.types) {
            let enters = entered[index as usize];
            entries.push(enters.then(|| self.entry(index, ty)).transpose()?);
            let leaves = self.leaving[index as usize];
            exits.push(leaves.then(|| self.exit(index, ty)).transpose()?);
        }
        Ok((entries, exits))
    }

    fn entry(&mut self, index: u32, ty: &FuncType) -> Result<u32, CompileError> {
        let signature = self.env.entry_signature();
        let entry = self.generate(Symbol::Entry(index), signature, |emit| {
            emit::entry(emit, ty);
            Ok(())
        })?;
        Ok(self.append(Symbol::Entry(index), &entry)?.start)
    }

    fn exit(&mut self, index: u32, ty: &FuncType) -> Result<u32, CompileError> {
        let exit = self.append_guarded(Guarded::exit(index), ty, |emit| {
            emit::exit(emit, ty);
            Ok(())
        })?;
        Ok(exit.start)
    }

    fn builtins(&mut self) -> Result<(), CompileError> {
        for builtin in self.text.called_builtins() {
            let signature = self.env.builtin_signature(builtin);
            let code = self.generate(Symbol::Builtin(builtin), signature, |emit| {
                emit::builtin(emit, builtin);
                Ok(())
            })?;
            self.append(Symbol::Builtin(builtin), &code)?;
        }
        Ok(())
    }
}

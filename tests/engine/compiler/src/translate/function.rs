//! Function bodies.

use crate::emit::Emitter;
use crate::error::CompileError;
use crate::translate::local::Local;
use crate::translate::translator::Translator;
use crate::wasm::{LocalUse, Usage, unexpected, val_type};
use core::mem;
use cranelift_codegen::ir::{InstBuilder, Value, types};
use vmexternref_engine_abi::{FuncType, TrapCode, ValType};
use wasmparser::{FunctionBody, Operator};

/// Translates `body`, a function of type `ty` with that usage.
pub(crate) fn translate(
    emit: Emitter<'_, '_>,
    ty: &FuncType,
    body: &FunctionBody<'_>,
    usage: &Usage,
) -> Result<(), CompileError> {
    let params = emit.params();
    let (vmctx, args) = match params[..] {
        [vmctx, _caller, ref args @ ..] => (vmctx, args),
        _ => return Err(unexpected("signature without contexts")),
    };
    let mut translator = Translator::new(emit, vmctx);
    translator.prologue(ty, args, usage);
    translator.declare_locals(body, usage)?;
    if translator.emit.env.zeal {
        translator.collect();
    }
    translator.push_function_frame(&ty.results);
    let mut operators = body.get_operators_reader()?;
    while !operators.eof() {
        translator.emit.locate(Some(operators.original_position()));
        let operator = operators.read()?;
        translator.operator(&operator)?;
    }
    translator.emit.locate(None);
    let traps = mem::take(&mut translator.traps);
    traps.fill(&mut translator.emit, vmctx);
    translator.emit.finish();
    Ok(())
}

impl Translator<'_, '_> {
    /// Checks the stack's limit, then defines the parameters.
    ///
    /// An interpreter checks the limit itself. Elsewhere, references are passed on as block
    /// parameters, so that nothing is written to the new frame before it is known to be within the
    /// limit.
    fn prologue(&mut self, ty: &FuncType, args: &[Value], usage: &Usage) {
        if self.emit.env.interpreted {
            for (ty, value) in ty.params.iter().zip(args) {
                self.declare(*value, *ty);
                self.declare_local(*ty, *value, usage);
            }
            return;
        }
        let body = self.emit.builder.create_block();
        let mut handed = Vec::new();
        let mut values = Vec::new();
        for (arg, ty) in args.iter().zip(&ty.params) {
            let value = if *ty == ValType::ExternRef {
                handed.push((*arg).into());
                self.append_param(body, *ty)
            } else {
                *arg
            };
            values.push(value);
        }
        let exhausted = self.emit.stack_exhausted(self.vmctx, 0);
        let trap = self.trap_block(TrapCode::StackOverflow);
        self.ins().brif(exhausted, trap, &[], body, &handed);
        self.emit.continue_in(body);
        for (value, ty) in values.into_iter().zip(&ty.params) {
            self.declare_local(*ty, value, usage);
        }
    }

    /// Declares the locals that are used.
    fn declare_locals(
        &mut self,
        body: &FunctionBody<'_>,
        usage: &Usage,
    ) -> Result<(), CompileError> {
        for local in body.get_locals_reader()? {
            let (count, ty) = local?;
            let unknown = usage.locals().saturating_sub(self.locals.len());
            if unknown == 0 {
                break;
            }
            let ty = val_type(ty)?;
            let zero = self.zero(ty);
            for _ in 0..unknown.min(count as usize) {
                self.declare_local(ty, zero, usage);
            }
        }
        Ok(())
    }

    fn declare_local(&mut self, ty: ValType, value: Value, usage: &Usage) {
        let local = match usage.local(self.locals.len()) {
            LocalUse::Assigned => {
                let machine_type = self.value_type(ty);
                let variable = self.emit.builder.declare_var(machine_type);
                if ty == ValType::ExternRef {
                    self.emit.builder.declare_var_needs_stack_map(variable);
                }
                self.emit.builder.def_var(variable, value);
                Local::Variable(variable)
            }
            LocalUse::None | LocalUse::Read => Local::Constant(value),
        };
        self.locals.push(local);
    }

    fn zero(&mut self, ty: ValType) -> Value {
        match self.value_type(ty) {
            types::F32 => self.ins().f32const(0.0),
            types::F64 => self.ins().f64const(0.0),
            integer => self.ins().iconst(integer, 0),
        }
    }

    fn operator(&mut self, operator: &Operator<'_>) -> Result<(), CompileError> {
        let translated = if self.reachable {
            self.insert_before(operator);
            self.control(operator)?
                || self.variable(operator)?
                || self.numeric(operator)
                || self.memory(operator)
                || self.table(operator)?
        } else {
            self.skip(operator);
            true
        };
        if translated {
            Ok(())
        } else {
            Err(unexpected(&format!("{operator:?}")))
        }
    }

    fn variable(&mut self, operator: &Operator<'_>) -> Result<bool, CompileError> {
        match *operator {
            Operator::LocalGet { local_index } => {
                let value = match self.locals[local_index as usize] {
                    Local::Constant(value) => value,
                    Local::Variable(variable) => self.emit.builder.use_var(variable),
                };
                self.push(value);
            }
            Operator::LocalSet { local_index } => {
                self.assign(local_index);
            }
            Operator::LocalTee { local_index } => {
                let value = self.assign(local_index);
                self.push(value);
            }
            Operator::GlobalGet { global_index } => self.global_get(global_index)?,
            Operator::GlobalSet { global_index } => self.global_set(global_index)?,
            Operator::Drop => {
                self.pop_reference();
            }
            Operator::Select => self.select(None),
            Operator::TypedSelect { ty } => self.select(Some(val_type(ty)?)),
            Operator::Nop => {}
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Pops the new value of a local, and returns it.
    fn assign(&mut self, local: u32) -> Value {
        let value = self.pop();
        match self.locals[local as usize] {
            Local::Variable(variable) => self.emit.builder.def_var(variable, value),
            Local::Constant(_) => unreachable!("the usage of the body tells what it assigns to"),
        }
        value
    }

    fn select(&mut self, ty: Option<ValType>) {
        let condition = self.pop();
        let otherwise = self.pop();
        let value = self.pop();
        let selected = self.ins().select(condition, value, otherwise);
        self.push_typed(selected, ty.unwrap_or(ValType::I32));
    }
}

//! Translates the body of one Wasm function.

use cranelift_codegen::ir::{Block, Inst, InstBuilder, Type, Value, types};
use cranelift_frontend::{FuncInstBuilder, Variable};
use vmexternref_engine_abi::{Builtin, FuncType, TrapCode, ValType};
use wasmparser::{FunctionBody, Operator};

use crate::control::Frame;
use crate::emitter::Emitter;
use crate::error::CompileError;
use crate::metadata::{unexpected, val_type};
use crate::trap::Traps;
use crate::unentered::Unentered;

/// The state of a translation: where the operands are, and what control can reach.
pub(crate) struct Translator<'f, 'm> {
    /// Instructions are appended here.
    pub(crate) emit: Emitter<'f, 'm>,
    /// The instance that the function belongs to.
    pub(crate) vmctx: Value,
    /// The operand stack.
    pub(crate) stack: Vec<Value>,
    /// Which operands the activations table does not hold yet, the oldest first.
    pub(crate) unentered: Vec<Unentered>,
    /// The blocks around the current instruction, the function's own first.
    pub(crate) frames: Vec<Frame>,
    /// Blocks that raise traps.
    pub(crate) traps: Traps,
    /// Whether control reaches the current instruction.
    pub(crate) reachable: bool,
    /// How many blocks have begun since control stopped reaching instructions.
    pub(crate) skipped: u32,
    locals: Vec<(Variable, ValType)>,
}

/// Translates `body`, a function of type `ty`.
pub(crate) fn translate(
    emit: Emitter<'_, '_>,
    ty: &FuncType,
    body: &FunctionBody<'_>,
) -> Result<(), CompileError> {
    let params = emit.params();
    let (vmctx, args) = match params[..] {
        [vmctx, _caller, ref args @ ..] => (vmctx, args),
        _ => return Err(unexpected("signature without contexts")),
    };
    let mut translator = Translator {
        emit,
        vmctx,
        stack: Vec::new(),
        unentered: Vec::new(),
        frames: Vec::new(),
        traps: Traps::default(),
        reachable: true,
        skipped: 0,
        locals: Vec::new(),
    };
    translator.prologue(ty, args);
    translator.declare_locals(body)?;
    if translator.emit.env.zeal {
        translator.collect();
    }
    translator.push_function_frame(&ty.results);
    let mut operators = body.get_operators_reader()?;
    while !operators.eof() {
        let operator = operators.read()?;
        translator.operator(&operator)?;
    }
    translator.raise_traps();
    translator.emit.finish();
    Ok(())
}

impl<'f> Translator<'f, '_> {
    /// Checks the stack's limit, then defines the parameters.
    ///
    /// References are handed over as block parameters, so that nothing is written to the new frame before its place
    /// is known to be within the limit.
    fn prologue(&mut self, ty: &FuncType, args: &[Value]) {
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
        self.emit.builder.switch_to_block(body);
        self.emit.builder.seal_block(body);
        for (value, ty) in values.into_iter().zip(&ty.params) {
            self.declare_local(*ty, value);
        }
    }

    fn declare_locals(&mut self, body: &FunctionBody<'_>) -> Result<(), CompileError> {
        for local in body.get_locals_reader()? {
            let (count, ty) = local?;
            let ty = val_type(ty)?;
            let zero = self.zero(ty);
            for _ in 0..count {
                self.declare_local(ty, zero);
            }
        }
        Ok(())
    }

    fn declare_local(&mut self, ty: ValType, value: Value) {
        let machine_type = self.value_type(ty);
        let variable = self.emit.builder.declare_var(machine_type);
        if ty == ValType::ExternRef {
            self.emit.builder.declare_var_needs_stack_map(variable);
        }
        self.emit.builder.def_var(variable, value);
        self.locals.push((variable, ty));
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
            self.enter_before(operator);
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
                let variable = self.local(local_index);
                let value = self.emit.builder.use_var(variable);
                self.push(value);
            }
            Operator::LocalSet { local_index } => {
                let (variable, value) = (self.local(local_index), self.pop());
                self.emit.builder.def_var(variable, value);
            }
            Operator::LocalTee { local_index } => {
                let (variable, value) = (self.local(local_index), self.pop());
                self.emit.builder.def_var(variable, value);
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

    fn local(&self, index: u32) -> Variable {
        self.locals[index as usize].0
    }

    fn select(&mut self, ty: Option<ValType>) {
        let condition = self.pop();
        let otherwise = self.pop();
        let value = self.pop();
        let selected = self.ins().select(condition, value, otherwise);
        self.push_typed(selected, ty.unwrap_or(ValType::I32));
    }

    /// Appends an instruction.
    pub(crate) fn ins(&mut self) -> FuncInstBuilder<'_, 'f> {
        self.emit.ins()
    }

    /// The machine's type for values of a Wasm type.
    pub(crate) fn value_type(&self, ty: ValType) -> Type {
        self.emit.env.value_type(ty)
    }

    /// The machine's type of a value.
    pub(crate) fn type_of(&self, value: Value) -> Type {
        self.emit.builder.func.dfg.value_type(value)
    }

    /// Pushes an operand.
    pub(crate) fn push(&mut self, value: Value) {
        self.stack.push(value);
    }

    /// Pushes an operand that the stack maps must know if it is a reference to a host object.
    pub(crate) fn push_typed(&mut self, value: Value, ty: ValType) {
        self.declare(value, ty);
        self.push(value);
    }

    /// Tells the stack maps about a value of that type.
    pub(crate) fn declare(&mut self, value: Value, ty: ValType) {
        if ty == ValType::ExternRef {
            self.emit.builder.declare_value_needs_stack_map(value);
        }
    }

    /// Adds a parameter of a Wasm type to a block.
    pub(crate) fn append_param(&mut self, block: Block, ty: ValType) -> Value {
        let machine_type = self.value_type(ty);
        let param = self.emit.builder.append_block_param(block, machine_type);
        self.declare(param, ty);
        param
    }

    /// Pops an operand; validation promised that there is one.
    pub(crate) fn pop(&mut self) -> Value {
        debug_assert!(
            self.waiting_above(self.stack.len() - 1) == 0,
            "an operand that waits is popped as a reference"
        );
        self.stack.pop().expect("a valid body has the operand")
    }

    /// Pops `count` operands, the oldest first.
    pub(crate) fn pop_many(&mut self, count: usize) -> Vec<Value> {
        let start = self.stack.len().checked_sub(count);
        let start = start.expect("a valid body has the operands");
        debug_assert!(
            self.waiting_above(start) == 0,
            "operands that wait are entered before they are popped together"
        );
        self.stack.split_off(start)
    }

    /// Calls a builtin on behalf of this instance.
    pub(crate) fn call_builtin(&mut self, builtin: Builtin, args: &[Value]) -> Inst {
        let mut all = vec![self.vmctx];
        all.extend(args);
        self.emit.call_builtin(builtin, &all)
    }

    /// Collects, in code that collects wherever it can.
    pub(crate) fn collect(&mut self) {
        self.call_builtin(Builtin::Zeal, &[]);
    }

    /// An index or a count, as wide as an address.
    pub(crate) fn widen(&mut self, index: Value) -> Value {
        match self.emit.env.pointer {
            types::I32 => index,
            pointer => self.ins().uextend(pointer, index),
        }
    }
}

//! The state of a translation.

use crate::emit::Emitter;
use crate::translate::frame::Frame;
use crate::translate::local::Local;
use crate::translate::ownership::Pending;
use crate::translate::traps::Traps;
use cranelift_codegen::ir::{Block, Inst, InstBuilder, SigRef, Type, Value};
use cranelift_frontend::FuncInstBuilder;
use std::collections::HashMap;
use vmexternref_engine_abi::{Builtin, TrapCode, ValType};

/// The state of a translation: the operands, and what control reaches.
pub(crate) struct Translator<'f, 'm> {
    /// Appends instructions.
    pub(crate) emit: Emitter<'f, 'm>,
    /// The context of the instance.
    pub(crate) vmctx: Value,
    /// The operand stack.
    pub(crate) stack: Vec<Value>,
    /// The operands that are not inserted into the activations table yet, the oldest first.
    pub(crate) pending: Vec<Pending>,
    /// The frames around the current instruction, the function's own first.
    pub(crate) frames: Vec<Frame>,
    /// The blocks that raise traps.
    pub(crate) traps: Traps,
    /// Whether control reaches the current instruction.
    pub(crate) reachable: bool,
    /// The number of frames opened since control stopped reaching instructions.
    pub(crate) skipped: u32,
    /// The local variables, up to the last one that is used.
    pub(crate) locals: Vec<Local>,
    /// The signatures of types that are called.
    pub(crate) signatures: HashMap<u32, SigRef>,
}

impl<'f, 'm> Translator<'f, 'm> {
    /// Starts a translation in the entry block.
    pub(crate) fn new(emit: Emitter<'f, 'm>, vmctx: Value) -> Self {
        Self {
            emit,
            vmctx,
            stack: Vec::new(),
            pending: Vec::new(),
            frames: Vec::new(),
            traps: Traps::default(),
            reachable: true,
            skipped: 0,
            locals: Vec::new(),
            signatures: HashMap::new(),
        }
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

    /// Pushes an operand. Declares it to the stack maps if it refers to a host object.
    pub(crate) fn push_typed(&mut self, value: Value, ty: ValType) {
        self.declare(value, ty);
        self.push(value);
    }

    /// Declares a value of that type to the stack maps if it refers to a host object.
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

    /// Pops an operand.
    pub(crate) fn pop(&mut self) -> Value {
        debug_assert!(
            self.pending_above(self.stack.len() - 1) == 0,
            "a pending operand is popped as a reference"
        );
        self.stack.pop().expect("a valid body has the operand")
    }

    /// Pops `count` operands, the oldest first.
    pub(crate) fn pop_many(&mut self, count: usize) -> Vec<Value> {
        let start = self.stack.len().checked_sub(count);
        let start = start.expect("a valid body has the operands");
        debug_assert!(
            self.pending_above(start) == 0,
            "pending operands are inserted before they are popped together"
        );
        self.stack.split_off(start)
    }

    /// The number of pending operands above the lowest `height` operands.
    fn pending_above(&self, height: usize) -> usize {
        let above = |one: &&Pending| one.height >= height;
        self.pending.iter().filter(above).count()
    }

    /// Calls a builtin for this instance.
    pub(crate) fn call_builtin(&mut self, builtin: Builtin, args: &[Value]) -> Inst {
        let mut all = vec![self.vmctx];
        all.extend(args);
        self.emit.call_builtin(builtin, &all)
    }

    /// Calls a builtin with constant indices and then operands, and raises the trap it returns.
    pub(crate) fn call_bulk(&mut self, builtin: Builtin, indices: &[u32], operands: usize) {
        let mut args: Vec<Value> = indices
            .iter()
            .map(|index| self.emit.constant(*index))
            .collect();
        args.extend(self.pop_many(operands));
        let call = self.call_builtin(builtin, &args);
        let number = self.emit.builder.inst_results(call)[0];
        self.trap_with(number);
    }

    /// Calls a builtin that drops the segment of that index.
    pub(crate) fn drop_segment(&mut self, builtin: Builtin, segment: u32) {
        let segment = self.emit.constant(segment);
        self.call_builtin(builtin, &[segment]);
    }

    /// Collects.
    pub(crate) fn collect(&mut self) {
        self.call_builtin(Builtin::Zeal, &[]);
    }

    /// The block that raises `code`; it is filled when the function ends.
    pub(crate) fn trap_block(&mut self, code: TrapCode) -> Block {
        self.traps.block(&mut self.emit, code)
    }

    /// Raises `code` if `condition` is not zero.
    pub(crate) fn trap_if(&mut self, condition: Value, code: TrapCode) {
        let trap = self.trap_block(code);
        let next = self.emit.builder.create_block();
        self.ins().brif(condition, trap, &[], next, &[]);
        self.emit.continue_in(next);
    }

    /// Raises `code` if `condition` is zero.
    pub(crate) fn trap_unless(&mut self, condition: Value, code: TrapCode) {
        let trap = self.trap_block(code);
        let next = self.emit.builder.create_block();
        self.ins().brif(condition, next, &[], trap, &[]);
        self.emit.continue_in(next);
    }

    /// Raises the trap of that number, unless it is 0.
    pub(crate) fn trap_with(&mut self, number: Value) {
        let trap = self.traps.block_of_any(&mut self.emit);
        let next = self.emit.builder.create_block();
        self.ins().brif(number, trap, &[number.into()], next, &[]);
        self.emit.continue_in(next);
    }

    /// Control does not reach what follows, up to the next `else` or `end`.
    pub(crate) fn leave(&mut self) {
        self.reachable = false;
    }
}

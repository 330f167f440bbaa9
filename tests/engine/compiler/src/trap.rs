//! Traps: explicit checks that branch to cold blocks, which call the runtime.

use cranelift_codegen::ir::{Block, InstBuilder, Value, types};
use vmexternref_engine_abi::{Builtin, TrapCode};

use crate::function::Translator;

/// The blocks that raise traps: one per kind in each function.
#[derive(Default)]
pub(crate) struct Traps {
    fixed: Vec<(TrapCode, Block)>,
    /// Raises the code that it gets as its parameter.
    any: Option<Block>,
}

impl Translator<'_, '_> {
    /// Raises `code` if `condition` is not zero.
    pub(crate) fn trap_if(&mut self, condition: Value, code: TrapCode) {
        let trap = self.trap_block(code);
        let next = self.emit.builder.create_block();
        self.ins().brif(condition, trap, &[], next, &[]);
        self.emit.builder.switch_to_block(next);
        self.emit.builder.seal_block(next);
    }

    /// Raises `code` if `condition` is zero.
    pub(crate) fn trap_unless(&mut self, condition: Value, code: TrapCode) {
        let trap = self.trap_block(code);
        let next = self.emit.builder.create_block();
        self.ins().brif(condition, next, &[], trap, &[]);
        self.emit.builder.switch_to_block(next);
        self.emit.builder.seal_block(next);
    }

    /// Raises the trap whose number a builtin returned, if it is one.
    pub(crate) fn trap_with(&mut self, number: Value) {
        let trap = match self.traps.any {
            Some(block) => block,
            None => {
                let block = self.emit.builder.create_block();
                self.emit.builder.append_block_param(block, types::I32);
                self.emit.builder.set_cold_block(block);
                *self.traps.any.insert(block)
            }
        };
        let next = self.emit.builder.create_block();
        self.ins().brif(number, trap, &[number.into()], next, &[]);
        self.emit.builder.switch_to_block(next);
        self.emit.builder.seal_block(next);
    }

    /// The block that raises `code`; it is filled when the function ends.
    pub(crate) fn trap_block(&mut self, code: TrapCode) -> Block {
        let known = self.traps.fixed.iter().find(|(known, _)| *known == code);
        if let Some((_, block)) = known {
            return *block;
        }
        let block = self.emit.builder.create_block();
        self.emit.builder.set_cold_block(block);
        self.traps.fixed.push((code, block));
        block
    }

    /// Fills the blocks that raise traps.
    pub(crate) fn raise_traps(&mut self) {
        for (code, block) in core::mem::take(&mut self.traps.fixed) {
            self.emit.builder.switch_to_block(block);
            let number = self.emit.constant(code.number());
            self.raise(number);
        }
        if let Some(block) = self.traps.any.take() {
            self.emit.builder.switch_to_block(block);
            let number = self.emit.builder.block_params(block)[0];
            self.raise(number);
        }
    }

    fn raise(&mut self, number: Value) {
        self.call_builtin(Builtin::Raise, &[number]);
        self.emit.unreachable();
    }
}

//! Stacks that are switched, and thrown away.

use crate::objects::Id;
use crate::stacks::Stack;
use crate::world::{STACKS, World};
use arbitrary::{Result, Unstructured};

impl World {
    pub(super) fn switch(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        if self.stacks.len() < STACKS && u.arbitrary()? {
            self.stacks.push(Stack::new(u.ratio(3, 4)?));
        }
        self.running = u.choose_index(self.stacks.len())?;
        Ok(())
    }

    /// Frees a stack on which Wasm may be suspended.
    pub(super) fn throw_away(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let index = u.choose_index(self.stacks.len())?;
        if index == self.running {
            return Ok(());
        }
        let stack = self.stacks.swap_remove(index);
        if self.running == self.stacks.len() {
            self.running = index;
        }
        let frames = stack.activations.iter().flat_map(|a| &a.frames);
        let pins: Vec<Id> = frames.flat_map(|frame| frame.pins.clone()).collect();
        stack.discard_canaries(self.tables.each_ref().map(|table| table.real()));
        self.unpin(&pins);
        self.tally.count("stacks thrown away");
        Ok(())
    }
}

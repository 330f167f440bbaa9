//! What a host does, one step after the other.

mod boxes;
mod calls;
mod code;
mod collecting;
mod counting;
mod garbage;
mod insertions;
mod switching;

use crate::world::World;
use arbitrary::{Result, Unstructured};

/// Operations on what objects refer to, and cycle collections.
const GRAPHS: [u8; 12] = [0, 4, 4, 4, 4, 6, 7, 7, 10, 15, 38, 38];

impl World {
    /// Does one thing, if it is possible.
    pub(crate) fn step(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        self.tally.operations += 1;
        let operation = if self.likes_graphs && u.ratio(3, 4)? {
            *u.choose(&GRAPHS)?
        } else {
            u.int_in_range(0..=39)?
        };
        match operation {
            0..=3 => self.make(u),
            4 | 5 => self.link(u),
            6 => self.unlink(u),
            7..=9 => self.drop_held(u),
            10 => self.take_out(u),
            11 => self.ask(u),
            12 | 13 => self.store(u),
            14 => self.load(u),
            15 => self.weaken(u),
            16..=18 => self.enter(u),
            19..=21 => self.call(u),
            22 | 23 => self.assign(u),
            24 | 25 => {
                self.leave_frame();
                Ok(())
            }
            26 => self.switch(u),
            27 => self.throw_away(u),
            28 => self.register(u),
            29 => self.unregister(u),
            30 => self.look_up(u),
            31 => self.configure(u),
            32 => self.insert(u),
            33..=36 => self.collect(u),
            37 => self.release_slice(u),
            38 => {
                let collector = u.int_in_range(0..=1)?;
                self.collect_cycles(collector);
                Ok(())
            }
            _ => self.clear(u),
        }
    }
}

//! Following a chain of frame records, with every step checked.
//!
//! ```text
//!   record --> +--------------+      a frame record: two words that each
//!              | older fp     | --.  function stores on entry
//!              | return pc    |   |
//!              +--------------+   |   <- sp of the caller, at the call
//!              |  the caller's|   |
//!              |  frame       |   |
//!              +--------------+ <-'   the caller's own record, and its fp
//!              | older fp     |
//!              | return pc    |
//! ```
//!
//! Memory is read through a closure alone, so there is no `unsafe` here, and an array serves as a
//! stack.

use crate::arch::strip;
use crate::record::{RecordLayout, WORD};
use core::ops::{ControlFlow, Range};

/// A chain of frame records: where it starts, ends and may lead.
///
/// A record is two words that each function stores on entry: the older frame pointer, and behind it
/// the return address.
///
/// ```
/// use core::ops::ControlFlow;
/// use vmexternref_frame_pointer::{Chain, ChainEnd};
///
/// const WORD: usize = size_of::<usize>();
/// // Words at the address 0: two records, and what lies between them.
/// let stack = [3 * WORD, 0x11, 0, 5 * WORD, 0x22];
/// let chain = Chain { pc: None, record: 0, end: 5 * WORD, bounds: 0..5 * WORD };
/// let read = |address| stack.get(address / WORD).copied();
/// let mut seen = Vec::new();
/// let end = chain.follow_records(
///     |link| link.fp,
///     |pc| pc,
///     read,
///     |link| {
///         seen.push((link.pc, link.fp));
///         ControlFlow::Continue(())
///     },
/// );
/// assert!(matches!(end, ChainEnd::Reached { last } if last.pc == 0x22));
/// assert_eq!(seen, [(0x11, 3 * WORD)]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// The first frame's return address, if not the one in the record.
    pub pc: Option<usize>,
    /// Address of the youngest record: that of the first frame's callee.
    pub record: usize,
    /// The frame pointer that ends the chain; its frame is not visited.
    pub end: usize,
    /// Addresses that every record must lie in, with both words.
    pub bounds: Range<usize>,
}

/// A frame, as the record of its callee tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Where the callee returns to.
    pub pc: usize,
    /// The frame's stack pointer at the call: the address after its callee's record.
    pub sp: usize,
    /// The frame's frame pointer.
    pub fp: usize,
}

/// How a chain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainEnd {
    /// The chain led to the frame pointer that ends it.
    Reached {
        /// The frame with that frame pointer; it was not visited.
        last: Link,
    },
    /// The visitor asked to stop.
    Interrupted,
    /// A step would have led astray, and was not taken.
    Broken {
        /// What is wrong with the step.
        reason: Broken,
        /// The frame whose frame pointer is wrong, if one was read; it was not visited.
        last: Option<Link>,
    },
}

/// What is wrong with a step from one frame record to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The record's address is not a multiple of a word.
    Misaligned,
    /// The record is not above the one that leads to it.
    NotOlder,
    /// The record lies outside the bounds, wholly or in part.
    OutOfBounds,
    /// The reading closure has no such word.
    Unreadable,
}

impl Broken {
    /// The fault as part of a sentence.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Misaligned => "the frame pointer is misaligned",
            Self::NotOlder => "the frame pointer leads to no older frame",
            Self::OutOfBounds => "the frame pointer leaves the stack",
            Self::Unreadable => "the stack cannot be read there",
        }
    }
}

impl Chain {
    /// Visits the chain's frames, each with its record at its frame pointer, laid out as `layout`.
    #[inline]
    pub(crate) fn follow(
        &self,
        layout: RecordLayout,
        read: impl Fn(usize) -> Option<usize>,
        visit: impl FnMut(Link) -> ControlFlow<()>,
    ) -> ChainEnd {
        self.follow_laid_out(layout, |link| link.fp, strip, read, visit)
    }

    /// Visits the chain's frames, youngest first.
    ///
    /// `record_of` tells where a frame keeps its record, and `strip` makes a plain address of a
    /// return address in memory. `read` returns the word at an address. It is asked for aligned
    /// addresses within the bounds only, twice a frame at most; each record lies above the one
    /// before, so the walk ends.
    #[inline]
    pub fn follow_records(
        &self,
        record_of: impl Fn(&Link) -> usize,
        strip: impl Fn(usize) -> usize,
        read: impl Fn(usize) -> Option<usize>,
        visit: impl FnMut(Link) -> ControlFlow<()>,
    ) -> ChainEnd {
        self.follow_laid_out(RecordLayout::PAIR, record_of, strip, read, visit)
    }

    /// Like [`Self::follow_records`], for any layout of records.
    #[inline]
    fn follow_laid_out(
        &self,
        layout: RecordLayout,
        record_of: impl Fn(&Link) -> usize,
        strip: impl Fn(usize) -> usize,
        read: impl Fn(usize) -> Option<usize>,
        mut visit: impl FnMut(Link) -> ControlFlow<()>,
    ) -> ChainEnd {
        let mut record = self.record;
        let oldest = match self.oldest_record(layout) {
            Ok(oldest) => oldest,
            Err(reason) => return ChainEnd::Broken { reason, last: None },
        };
        let mut first_pc = self.pc;
        loop {
            let pc = first_pc
                .take()
                .or_else(|| read(record + layout.return_address));
            let (Some(fp), Some(pc)) = (read(record), pc) else {
                let reason = Broken::Unreadable;
                return ChainEnd::Broken { reason, last: None };
            };
            let (pc, sp) = (strip(pc), record + layout.caller_sp);
            let youngest = record + layout.size;
            let link = Link { pc, sp, fp };
            if fp == self.end {
                return ChainEnd::Reached { last: link };
            }
            record = record_of(&link);
            if let Err(reason) = check(record, youngest, oldest) {
                let last = Some(link);
                return ChainEnd::Broken { reason, last };
            }
            if visit(link).is_break() {
                return ChainEnd::Interrupted;
            }
        }
    }

    /// The highest address that a record can stand at, if the first one lies no higher.
    #[inline]
    fn oldest_record(&self, layout: RecordLayout) -> Result<usize, Broken> {
        let Some(oldest) = self.bounds.end.checked_sub(layout.size) else {
            return Err(Broken::OutOfBounds);
        };
        match check(self.record, self.bounds.start, oldest) {
            Ok(()) => Ok(oldest),
            // It is not a step from another record: all that can be wrong is its place.
            Err(Broken::NotOlder) => Err(Broken::OutOfBounds),
            Err(reason) => Err(reason),
        }
    }
}

/// Whether a record can stand at `record`, from `youngest` up to `oldest`.
#[inline]
fn check(record: usize, youngest: usize, oldest: usize) -> Result<(), Broken> {
    if record & (WORD - 1) != 0 {
        Err(Broken::Misaligned)
    } else if record < youngest {
        Err(Broken::NotOlder)
    } else if record > oldest {
        Err(Broken::OutOfBounds)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Broken, Chain, ChainEnd, Link};
    use crate::record::{RecordLayout, WORD};
    use core::cell::Cell;
    use core::ops::{ControlFlow, Range};
    use std::vec::Vec;

    /// A stack that is an array of words, at an address of its own.
    struct Memory<'a> {
        base: usize,
        words: &'a [usize],
    }

    impl Memory<'_> {
        fn bounds(&self) -> Range<usize> {
            self.base..self.base + self.words.len() * WORD
        }

        fn read(&self, address: usize) -> Option<usize> {
            assert!(self.bounds().contains(&address), "read outside the bounds");
            assert_eq!(address % WORD, 0, "misaligned read");
            Some(self.words[(address - self.base) / WORD])
        }

        fn follow(&self, chain: &Chain) -> (Vec<Link>, ChainEnd) {
            self.follow_laid_out(chain, RecordLayout::PAIR)
        }

        fn follow_laid_out(&self, chain: &Chain, layout: RecordLayout) -> (Vec<Link>, ChainEnd) {
            let mut links = Vec::new();
            let end = chain.follow(
                layout,
                |address| self.read(address),
                |link| {
                    links.push(link);
                    ControlFlow::Continue(())
                },
            );
            (links, end)
        }
    }

    const BASE: usize = 0x1000;

    /// The address of a word of a [`Memory`] at [`BASE`].
    const fn at(word: usize) -> usize {
        BASE + word * WORD
    }

    fn chain(memory: &Memory<'_>, record: usize, end: usize) -> Chain {
        Chain {
            pc: None,
            record,
            end,
            bounds: memory.bounds(),
        }
    }

    #[test]
    fn three_frames_and_the_one_that_ends_the_chain() {
        let words = [at(3), 11, 0, at(5), 12, at(8), 13, 0, at(10), 14, 0, 15];
        let memory = Memory {
            base: BASE,
            words: &words,
        };
        let (links, end) = memory.follow(&chain(&memory, at(0), at(10)));
        assert_eq!(
            links,
            [
                Link {
                    pc: 11,
                    sp: at(2),
                    fp: at(3)
                },
                Link {
                    pc: 12,
                    sp: at(5),
                    fp: at(5)
                },
                Link {
                    pc: 13,
                    sp: at(7),
                    fp: at(8)
                },
            ]
        );
        let last = Link {
            pc: 14,
            sp: at(10),
            fp: at(10),
        };
        assert_eq!(end, ChainEnd::Reached { last });
    }

    #[test]
    fn a_back_chain_has_the_return_address_in_the_area_of_saved_registers() {
        let mut words = [0; 75];
        for (area, older, pc) in [(0, 20, 11), (20, 55, 12), (55, 99, 13)] {
            (words[area], words[area + 14]) = (at(older), pc);
        }
        let memory = Memory {
            base: BASE,
            words: &words,
        };
        let chain = chain(&memory, at(0), at(99));
        let (links, end) = memory.follow_laid_out(&chain, RecordLayout::BACK_CHAIN);
        let link = |pc, sp, fp| Link {
            pc,
            sp: at(sp),
            fp: at(fp),
        };
        assert_eq!(links, [link(11, 0, 20), link(12, 20, 55)]);
        let last = link(13, 55, 99);
        assert_eq!(end, ChainEnd::Reached { last });
    }

    #[test]
    fn areas_of_a_back_chain_do_not_overlap_and_lie_within_bounds() {
        for (older, reason) in [
            (0, Broken::NotOlder),
            (19, Broken::NotOlder),
            (21, Broken::OutOfBounds),
        ] {
            let mut words = [0; 40];
            (words[0], words[14]) = (at(older), 11);
            let memory = Memory {
                base: BASE,
                words: &words,
            };
            let chain = chain(&memory, at(0), 1);
            let (links, end) = memory.follow_laid_out(&chain, RecordLayout::BACK_CHAIN);
            assert_eq!(links, [], "{older}");
            assert!(
                matches!(end, ChainEnd::Broken { reason: found, .. } if found == reason),
                "{older}: {end:?}"
            );
        }
    }

    #[test]
    fn the_first_return_address_can_be_given() {
        let words = [at(2), 11, 0, 12];
        let memory = Memory {
            base: BASE,
            words: &words,
        };
        let mut chain = chain(&memory, at(0), 0);
        chain.pc = Some(99);
        let (links, end) = memory.follow(&chain);
        assert_eq!(
            links,
            [Link {
                pc: 99,
                sp: at(2),
                fp: at(2)
            }]
        );
        let last = Link {
            pc: 12,
            sp: at(4),
            fp: 0,
        };
        assert_eq!(end, ChainEnd::Reached { last });
    }

    #[test]
    fn a_bad_start_reads_nothing() {
        let memory = Memory {
            base: BASE,
            words: &[0; 4],
        };
        for (record, reason) in [
            (at(0) + 1, Broken::Misaligned),
            (at(0) - WORD, Broken::OutOfBounds),
            (at(3), Broken::OutOfBounds),
            (at(4), Broken::OutOfBounds),
            (0, Broken::OutOfBounds),
            (usize::MAX - (WORD - 1), Broken::OutOfBounds),
        ] {
            let end = chain(&memory, record, 1).follow(
                RecordLayout::PAIR,
                |address| panic!("read of {address:#x}"),
                |link| panic!("visit of {link:?}"),
            );
            assert_eq!(end, ChainEnd::Broken { reason, last: None }, "{record:#x}");
        }
    }

    #[test]
    fn a_bad_step_is_not_taken() {
        for (fp, reason) in [
            (at(4) + 1, Broken::Misaligned),
            (at(0), Broken::NotOlder),
            (at(1), Broken::NotOlder),
            (0, Broken::NotOlder),
            (at(5), Broken::OutOfBounds),
            (at(6), Broken::OutOfBounds),
            (usize::MAX - (WORD - 1), Broken::OutOfBounds),
        ] {
            let words = [fp, 11, 0, 0, 0, 0];
            let memory = Memory {
                base: BASE,
                words: &words,
            };
            let (links, end) = memory.follow(&chain(&memory, at(0), 1));
            assert_eq!(links, [], "{fp:#x}");
            let last = Some(Link {
                pc: 11,
                sp: at(2),
                fp,
            });
            assert_eq!(end, ChainEnd::Broken { reason, last }, "{fp:#x}");
        }
    }

    #[test]
    fn memory_that_cannot_be_read_ends_the_chain() {
        let chain = Chain {
            pc: None,
            record: at(0),
            end: 0,
            bounds: at(0)..at(9),
        };
        let broken = ChainEnd::Broken {
            reason: Broken::Unreadable,
            last: None,
        };
        for readable in 0..4 {
            let words = [at(2), 11, 0, 12];
            let end = chain.follow(
                RecordLayout::PAIR,
                |address| words[..readable].get((address - BASE) / WORD).copied(),
                |_| ControlFlow::Continue(()),
            );
            assert_eq!(end, broken, "{readable} words");
        }
    }

    #[test]
    fn a_visitor_can_interrupt() {
        let words = [at(2), 11, at(4), 12, 0, 13];
        let memory = Memory {
            base: BASE,
            words: &words,
        };
        let visits = Cell::new(0);
        let end = chain(&memory, at(0), 0).follow(
            RecordLayout::PAIR,
            |address| memory.read(address),
            |_| {
                visits.set(visits.get() + 1);
                ControlFlow::Break(())
            },
        );
        assert_eq!((visits.get(), end), (1, ChainEnd::Interrupted));
    }

    #[test]
    fn records_may_lie_below_the_frame_pointer() {
        // As host code is laid out on RISC-V: the frame pointer is the address after the record.
        let words = [at(5), 11, 0, at(8), 12, 0, 0, 13];
        let memory = Memory {
            base: BASE,
            words: &words,
        };
        let mut links = Vec::new();
        let end = chain(&memory, at(0), at(8)).follow_records(
            |link| link.fp - RecordLayout::PAIR.size,
            |pc| pc,
            |address| memory.read(address),
            |link| {
                links.push(link);
                ControlFlow::Continue(())
            },
        );
        assert_eq!(
            links,
            [Link {
                pc: 11,
                sp: at(2),
                fp: at(5)
            }]
        );
        let last = Link {
            pc: 12,
            sp: at(5),
            fp: at(8),
        };
        assert_eq!(end, ChainEnd::Reached { last });
    }

    /// Return addresses may be signed, the first one too, which the exit trampoline stores.
    #[test]
    fn every_return_address_is_stripped() {
        const SIGNATURE: usize = 0xff << 16;
        let words = [at(2), 11, at(4), 12 | SIGNATURE, 0, 13 | SIGNATURE];
        let memory = Memory {
            base: BASE,
            words: &words,
        };
        let mut chain = chain(&memory, at(0), 0);
        chain.pc = Some(99 | SIGNATURE);
        let mut pcs = Vec::new();
        let end = chain.follow_records(
            |link| link.fp,
            |pc| pc & !SIGNATURE,
            |address| memory.read(address),
            |link| {
                pcs.push(link.pc);
                ControlFlow::Continue(())
            },
        );
        assert_eq!(pcs, [99, 12]);
        let ChainEnd::Reached { last } = end else {
            panic!("{end:?}")
        };
        assert_eq!(last.pc, 13);
    }

    #[test]
    fn any_memory_is_walked_within_bounds_and_to_an_end() {
        arbtest::arbtest(|u| {
            let layouts = [RecordLayout::PAIR, RecordLayout::BACK_CHAIN];
            let layout = *u.choose(&layouts)?;
            let length = u.int_in_range(0..=32 * layout.size / WORD)?;
            // High bases try the arithmetic at the end of the address space.
            let top = usize::MAX - length * WORD;
            let base = *u.choose(&[0, BASE, top & !(WORD - 1)])?;
            let mut words = std::vec![0; length];
            for word in &mut words {
                *word = match u.int_in_range(0..=3_u8)? {
                    0 => u.arbitrary()?,
                    1 => base.wrapping_add(u.int_in_range(0..=length * WORD)?),
                    _ => base.wrapping_add(u.int_in_range(0..=length)? * WORD),
                };
            }
            let memory = Memory {
                base,
                words: &words,
            };
            let chain = Chain {
                pc: u.arbitrary()?,
                record: base.wrapping_add(u.int_in_range(0..=length)? * WORD),
                end: u.arbitrary()?,
                bounds: memory.bounds(),
            };
            let (links, _) = memory.follow_laid_out(&chain, layout);
            let records = length * WORD / layout.size;
            assert!(links.len() <= records, "more frames than records fit");
            for pair in links.windows(2) {
                assert!(
                    pair[0].fp < pair[1].fp && pair[0].sp < pair[1].sp,
                    "not older"
                );
            }
            for link in &links {
                assert!(link.sp <= link.fp, "a frame's record lies in its frame");
            }
            Ok(())
        });
    }
}

//! Boxes, and what refers to them.

use crate::books::{Known, Life};
use crate::objects::{Id, Making, make, object};
use crate::world::World;
use arbitrary::{Result, Unstructured};
use vmexternref_core::VMExternRef;

impl World {
    pub(super) fn make(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let made = self.new_object(u)?;
        self.books.held.push(made);
        Ok(())
    }

    pub(super) fn new_object(&mut self, u: &mut Unstructured<'_>) -> Result<(Id, VMExternRef)> {
        let tracer = *u.choose(&[None, None, Some(0), Some(0), Some(1)])?;
        let making = Making {
            shape: u.arbitrary()?,
            constructor: u.arbitrary()?,
        };
        let collector = tracer.map(|index: usize| &self.collectors[index]);
        let (id, reference) = make(making, collector, &self.books.ledger);
        let word = reference.as_raw().addr();
        assert!(
            self.books.at(word).is_none(),
            "a new box has an address of its own"
        );
        self.books.objects.push(Known {
            word,
            tracer,
            links: Vec::new(),
            life: Life::Alive,
            leaked: 0,
        });
        self.tally.count("boxes made");
        Ok((id, reference))
    }

    /// An object that the host can reach: one that it holds, or some links further.
    pub(super) fn choose(&self, u: &mut Unstructured<'_>) -> Result<Option<(Id, VMExternRef)>> {
        if self.books.held.is_empty() {
            return Ok(None);
        }
        let (_, mut reference) = u.choose(&self.books.held)?.clone();
        for _ in 0..u.int_in_range(0..=2)? {
            let next = {
                let links = object(&reference).links.borrow();
                if links.is_empty() {
                    break;
                }
                u.choose(&links)?.clone()
            };
            reference = next;
        }
        Ok(Some((object(&reference).id, reference)))
    }

    pub(super) fn link(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        if let (Some((from, a)), Some((to, b))) = (self.choose(u)?, self.choose(u)?) {
            object(&a).links.borrow_mut().push(b);
            self.books.objects[from].links.push(to);
            self.tally.count("links made");
        }
        Ok(())
    }

    pub(super) fn unlink(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        if let Some((from, reference)) = self.choose(u)? {
            let cut = object(&reference).links.borrow_mut().pop();
            self.books.objects[from].links.pop();
            drop(cut);
        }
        Ok(())
    }

    pub(super) fn drop_held(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        if !self.books.held.is_empty() {
            let index = u.choose_index(self.books.held.len())?;
            self.books.held.swap_remove(index);
        }
        Ok(())
    }

    /// The host takes hold of one more object, or clones by way of a word.
    pub(super) fn take_out(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        if let Some((id, reference)) = self.choose(u)? {
            let raw = reference.into_raw();
            // SAFETY: the word owns the reference that was given up.
            let (clone, reference) =
                unsafe { (VMExternRef::clone_from_raw(raw), VMExternRef::from_raw(raw)) };
            assert!(VMExternRef::eq(&clone, &reference));
            drop(reference);
            self.books.held.push((id, clone));
        }
        Ok(())
    }

    pub(super) fn ask(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        if let (Some((a, one)), Some((b, other))) = (self.choose(u)?, self.choose(u)?) {
            assert_eq!(VMExternRef::eq(&one, &other), a == b);
            assert_eq!(VMExternRef::cmp(&one, &other).is_eq(), a == b);
            assert!(one.downcast_ref::<u64>().is_none() && !one.is::<u64>());
            let traced = self.books.objects[a].tracer.is_some();
            assert_eq!(one.downgrade().is_some(), traced);
        }
        Ok(())
    }

    pub(super) fn weaken(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        match self.choose(u)? {
            Some((id, reference)) if u.arbitrary()? => {
                self.weak
                    .extend(reference.downgrade().map(|weak| (id, weak.clone())));
            }
            _ => {
                self.weak.pop();
            }
        }
        Ok(())
    }
}

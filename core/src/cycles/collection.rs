//! One cycle collection.

use super::boxes::Boxes;
use super::node::{Node, Standing};
use super::report::{CycleOutcome, CycleReport};
use super::ring::Links;
use crate::extern_ref::VMExternRef;
use core::cmp::Ordering;
use core::ptr::NonNull;

/// A collection that is under way.
///
/// Each box in it is held, so that none can go, and its links lead through one of the rings of
/// [`Boxes`]. Between two calls of foreign code every box is in one ring, so that whatever the
/// foreign code does, also unwinding, the rings say which boxes to give back.
pub(super) struct Collection<'b> {
    boxes: &'b Boxes,
    report: CycleReport,
    /// Whether anything was traced.
    traced: bool,
}

impl<'b> Collection<'b> {
    /// Begins a collection; `None` if one is under way.
    pub(super) fn begin(boxes: &'b Boxes) -> Option<Self> {
        (!boxes.collecting.replace(true)).then(|| Self {
            boxes,
            report: CycleReport::new(CycleOutcome::Collected),
            traced: false,
        })
    }

    pub(super) fn run(mut self) -> CycleReport {
        self.report.outcome = self.find_garbage();
        if self.report.outcome == CycleOutcome::Collected {
            self.unlink();
            self.release();
        }
        self.report
    }

    /// Leaves the garbage in `passed`, if the outcome is that it can be collected.
    fn find_garbage(&mut self) -> CycleOutcome {
        if !self.hold_all() {
            return CycleOutcome::KeptMarked;
        }
        self.traced = true;
        self.count_names();
        if !self.sort() {
            return CycleOutcome::KeptFalseTrace;
        }
        self.reach();
        if !self.confirm() {
            return CycleOutcome::KeptFalseTrace;
        }
        CycleOutcome::Collected
    }

    /// Holds every box, and makes it a suspect; refuses if one has a mark.
    ///
    /// A dead box stays out of all rings: it waits for its destructor, and until then the
    /// references that it owns are references from outside.
    fn hold_all(&mut self) -> bool {
        while let Some(links) = self.boxes.all.pop() {
            // SAFETY: a box leaves its ring before it goes (`Dying::begin`).
            let Some(held) = (unsafe { VMExternRef::to_living(Links::footer(links)) }) else {
                continue;
            };
            let is_marked = held.data().ref_count().is_marked();
            set_standing(&held, Standing::Named(0));
            self.boxes.suspects.push(held);
            if is_marked {
                return false;
            }
            self.report.boxes += 1;
        }
        true
    }

    /// Counts for each suspect the references that suspects name; all pass.
    fn count_names(&mut self) {
        let Boxes {
            suspects, passed, ..
        } = self.boxes;
        while let Some(current) = suspects.pop() {
            passed.push(current.clone());
            trace(&current, &mut |reference| {
                self.report.references += 1;
                if let Some((node, named)) = self.boxes.suspect(reference) {
                    node.standing.set(Standing::Named(named.saturating_add(1)));
                }
            });
        }
    }

    /// Tells the boxes that something outside holds from the suspects.
    ///
    /// Refuses if more references to a box were named than there are. No foreign code runs.
    fn sort(&self) -> bool {
        while let Some(current) = self.boxes.passed.pop() {
            match unnamed(self.boxes, &current) {
                Some(Ordering::Equal) => self.boxes.suspects.push(current),
                Some(Ordering::Less) => {
                    self.boxes.reached.push(current);
                    return false;
                }
                Some(Ordering::Greater) | None => {
                    set_standing(&current, Standing::Alive);
                    self.boxes.reached.push(current);
                }
            }
        }
        true
    }

    /// Moves everything that living boxes reach out of the suspects.
    fn reach(&self) {
        while let Some(current) = self.boxes.reached.pop() {
            give_back(self.boxes, &current);
            trace(&current, &mut |reference| {
                if let (Some((node, _)), Some(links)) =
                    (self.boxes.suspect(reference), Links::of(reference))
                {
                    node.standing.set(Standing::Alive);
                    // SAFETY: a suspect is in a ring that holds it.
                    unsafe { self.boxes.reached.push_held(links) };
                }
            });
        }
    }

    /// Condemns the suspects, if still each of their references is one that suspects named.
    ///
    /// No foreign code runs.
    fn confirm(&self) -> bool {
        while let Some(current) = self.boxes.suspects.pop() {
            let is_garbage = unnamed(self.boxes, &current) == Some(Ordering::Equal);
            set_standing(&current, Standing::Garbage);
            self.boxes.passed.push(current);
            if !is_garbage {
                return false;
            }
        }
        true
    }

    fn unlink(&mut self) {
        while let Some(current) = self.boxes.passed.pop() {
            self.report.unlinked += 1;
            self.boxes.suspects.push(current.clone());
            if let Some(value) = current.as_traced() {
                value.unlink();
            }
        }
    }

    fn release(&mut self) {
        while let Some(current) = self.boxes.suspects.pop() {
            if let Some(links) = Links::of(&current) {
                // SAFETY: a box that dies leaves its ring, and the others do below.
                unsafe { self.boxes.released.push(links) };
            }
            drop(current);
        }
        self.report.survivors = self.give_back_released();
        self.report.freed = self.report.unlinked - self.report.survivors;
    }

    /// Gives back the released boxes that are alive, and says how many.
    fn give_back_released(&self) -> usize {
        let mut survivors = 0;
        while let Some(links) = self.boxes.released.pop() {
            // SAFETY: a box leaves its ring before it goes (`Dying::begin`).
            if let Some(alive) = unsafe { VMExternRef::to_living(Links::footer(links)) } {
                give_back(self.boxes, &alive);
                survivors += 1;
            }
        }
        survivors
    }
}

impl Collection<'_> {
    /// Gives every box back that is in a ring of the collection.
    fn restore(&self) {
        let boxes = self.boxes;
        for ring in [&boxes.suspects, &boxes.passed, &boxes.reached] {
            while let Some(current) = ring.pop() {
                give_back(boxes, &current);
                drop(current);
            }
        }
        self.give_back_released();
    }
}

impl Drop for Collection<'_> {
    fn drop(&mut self) {
        let end = End(self);
        end.0.restore();
    }
}

/// Ends a collection, also if a destructor panics while boxes are given back.
struct End<'c, 'b>(&'c Collection<'b>);

impl Drop for End<'_, '_> {
    fn drop(&mut self) {
        let Collection { boxes, report, .. } = self.0;
        self.0.restore();
        if self.0.traced {
            boxes.postpone(report.references);
        }
        boxes.collecting.set(false);
    }
}

impl Boxes {
    /// The node of a box that is a suspect of this collector, and how often it was named.
    fn suspect<'r>(&self, reference: &'r VMExternRef) -> Option<(&'r Node, u32)> {
        let node = Node::of(reference)?;
        match node.standing.get() {
            Standing::Named(named) if node.boxes == NonNull::from(self) => Some((node, named)),
            _ => None,
        }
    }
}

/// How the references to a held box compare with those that suspects have named.
///
/// The hold does not count. `None` if the box is no suspect, or too many were named to tell.
fn unnamed(boxes: &Boxes, held: &VMExternRef) -> Option<Ordering> {
    let (_, named) = boxes.suspect(held)?;
    let references = held.strong_count() - 1;
    (named != u32::MAX).then(|| references.cmp(&(named as usize)))
}

fn set_standing(reference: &VMExternRef, standing: Standing) {
    if let Some(node) = Node::of(reference) {
        node.standing.set(standing);
    }
}

/// Moves a box back to where it is when no collection is under way.
fn give_back(boxes: &Boxes, reference: &VMExternRef) {
    set_standing(reference, Standing::Alive);
    if let Some(links) = Links::of(reference) {
        // SAFETY: the reference keeps the box, and a box that dies leaves its ring.
        unsafe { boxes.all.push(links) }
    }
}

fn trace(reference: &VMExternRef, visit: &mut dyn FnMut(&VMExternRef)) {
    if let Some(value) = reference.as_traced() {
        value.trace(visit);
    }
}

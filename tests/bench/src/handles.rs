//! The hand-written alternative: a slab of objects that the guest knows by number.

/// Objects by number. The numbers of dropped objects are reused.
#[derive(Debug)]
pub(crate) struct Handles<T> {
    slots: Vec<Slot<T>>,
    free: Option<usize>,
}

#[derive(Debug)]
enum Slot<T> {
    Taken(T),
    /// With the next free slot.
    Free(Option<usize>),
}

impl<T> Handles<T> {
    pub(crate) const fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: None,
        }
    }

    /// Stores `object`, and returns its number.
    #[inline]
    pub(crate) fn insert(&mut self, object: T) -> usize {
        let Some(index) = self.free else {
            self.slots.push(Slot::Taken(object));
            return self.slots.len() - 1;
        };
        if let Slot::Free(next) = core::mem::replace(&mut self.slots[index], Slot::Taken(object)) {
            self.free = next;
        }
        index
    }

    /// The object of that number.
    #[inline]
    pub(crate) fn find(&self, index: usize) -> Option<&T> {
        match self.slots.get(index) {
            Some(Slot::Taken(object)) => Some(object),
            _ => None,
        }
    }

    /// Removes the object of that number, and returns it.
    #[inline]
    pub(crate) fn remove(&mut self, index: usize) -> Option<T> {
        let slot = self.slots.get_mut(index)?;
        if let Slot::Free(_) = slot {
            return None;
        }
        match core::mem::replace(slot, Slot::Free(self.free.replace(index))) {
            Slot::Taken(object) => Some(object),
            Slot::Free(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Handles;

    #[test]
    fn numbers_are_used_again() {
        let mut handles = Handles::new();
        let (a, b) = (handles.insert('a'), handles.insert('b'));
        assert_eq!(handles.remove(a), Some('a'));
        assert_eq!(handles.find(a), None);
        assert_eq!(handles.remove(a), None);
        assert_eq!(handles.insert('c'), a);
        assert_eq!((handles.find(b), handles.find(9)), (Some(&'b'), None));
    }
}

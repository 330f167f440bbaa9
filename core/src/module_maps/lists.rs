//! Growing lists, when memory may be out.

use super::error::RegisterError;
use alloc::vec::Vec;

/// An empty list with room for so many elements.
pub(crate) fn with_capacity<T>(capacity: usize) -> Result<Vec<T>, RegisterError> {
    let mut list = Vec::new();
    list.try_reserve_exact(capacity)
        .map_err(|_| RegisterError::OutOfMemory)?;
    Ok(list)
}

/// Makes room for so many elements more.
pub(crate) fn reserve<T>(list: &mut Vec<T>, additional: usize) -> Result<(), RegisterError> {
    list.try_reserve(additional)
        .map_err(|_| RegisterError::OutOfMemory)
}

/// Appends one element.
pub(crate) fn push<T>(list: &mut Vec<T>, element: T) -> Result<(), RegisterError> {
    reserve(list, 1)?;
    list.push(element);
    Ok(())
}

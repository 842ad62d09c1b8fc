//! Lets aya's maps hold the types of proxy-common.

/// A value as it stands in a map.
#[repr(transparent)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Raw<T>(pub T);

// SAFETY: bytemuck has proved that any bytes are a `T` and that it has no padding.
unsafe impl<T: bytemuck::Pod> aya::Pod for Raw<T> {}

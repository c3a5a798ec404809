//! The words of a tree as memory: zeroed, in large pages, fetched ahead. The one unsafe place of this crate.
//!
//! A tree is read at random. Of a gigabyte in pages of 4 KiB a processor cannot remember where the pages are, which
//! doubles the price of a cache miss; and misses cost little as long as many are under way at once. Systems give
//! large pages to who asks, and both asking and fetching ahead take an address.

#![allow(unsafe_code, reason = "calls that take addresses or raw memory, each with its reason")]

use std::sync::atomic::AtomicU64;

/// Words that are read and written as one.
#[repr(C, align(16))]
pub(super) struct Words<const N: usize>(pub(super) [AtomicU64; N]);

/// Zeroes; what is never written takes no memory.
pub(super) fn zeroed<const N: usize>(len: usize) -> Box<[Words<N>]> {
    let mut memory = Box::<[Words<N>]>::new_zeroed_slice(len);
    prefer_large(&mut memory);
    // SAFETY: all bytes are zero, and an atomic integer may have any bytes.
    unsafe { memory.assume_init() }
}

/// Asks for large pages, which has to come before the first write. Only a hint: whether it is heard changes nothing.
#[cfg(target_os = "linux")]
fn prefer_large<T>(memory: &mut [T]) {
    use rustix::mm::{Advice, madvise};

    const LARGE: usize = 2 << 20;
    let from = memory.as_mut_ptr().cast::<u8>();
    let skip = from.align_offset(LARGE);
    let bytes = size_of_val(memory).saturating_sub(skip) / LARGE * LARGE;
    if bytes > 0 {
        // SAFETY: the range lies within memory that is ours alone, and the advice does not change what is there.
        let _hint = unsafe { madvise(from.add(skip).cast(), bytes, Advice::LinuxHugepage) };
    }
}

#[cfg(not(target_os = "linux"))]
fn prefer_large<T>(_: &mut [T]) {}

/// Starts to bring the first 64 bytes of `words`, and their last, into the cache.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(super) fn fetch<const N: usize>(words: &Words<N>) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};

    let (first, last) = (&raw const words.0[0], &raw const words.0[N - 1]);
    // SAFETY: fetching has no effect that a program can see, whatever the address.
    unsafe {
        _mm_prefetch::<_MM_HINT_T0>(first.cast());
        _mm_prefetch::<_MM_HINT_T0>(last.cast());
    }
}

/// Nothing: there is no stable way to fetch ahead here.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
pub(super) fn fetch<const N: usize>(_: &Words<N>) {}

//! A disk small enough to fill.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{fetch, skip};

/// A small file system of its own in memory, unmounted when dropped.
#[derive(Debug)]
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts a tmpfs of `size`, such as `6m`, on the folder `at`, which is made. `None`, and says so, where mounting is
    /// not permitted.
    ///
    /// # Panics
    /// If the folder cannot be made; where mounting is not permitted and `CI` is `true`.
    pub fn mount(at: &Path, size: &str) -> Option<Self> {
        std::fs::create_dir_all(at).expect("a folder to mount on");
        match mount(&format!("size={size}"), at) {
            Ok(()) => Some(Self(at.to_owned())),
            Err(reason) => {
                skip(&format!("a tmpfs cannot be mounted: {reason}"));
                None
            }
        }
    }

    /// Makes room up to `size`.
    ///
    /// # Panics
    /// If the system refuses.
    pub fn grow(&self, size: &str) {
        mount(&format!("remount,size={size}"), &self.0).expect("a mounted tmpfs grows");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(&self.0).status().ok();
    }
}

fn mount(options: &str, at: &Path) -> Result<(), String> {
    let mut command = Command::new("mount");
    command.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(at);
    fetch::run(command)
}

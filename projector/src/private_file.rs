//! Files that are there whole or not at all, for their owner only.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

/// Writes a file and puts it in the place of any other of this name; it is durable when this returns. A crash leaves the
/// one or the other. Blocks.
pub(crate) fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_added_extension("new");
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.create_new(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    fs::rename(&beside, path)?;
    // Windows has no handle to a directory that could be synced; its file system orders this itself.
    match path.parent().filter(|_| cfg!(unix)) {
        Some(dir) => File::open(dir)?.sync_all(),
        None => Ok(()),
    }
}

//! Python with packages, for what a client in another language sees.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{fetch, skip};

/// A Python 3 interpreter that has these packages, such as `msgpack==1.2.4`, and what they need. Fetched at first use.
/// `None`, and says so, where they cannot be had.
///
/// # Panics
/// Where they cannot be had and `CI` is `true`.
pub fn with_packages(packages: &[&str]) -> Option<PathBuf> {
    with_requirements(&packages.join("\n"))
}

/// A Python 3 interpreter with the packages of a requirements file; where one line pins a `--hash`, pip wants one from
/// all. Fetched at first use. `None`, and says so, where they cannot be had.
///
/// # Panics
/// Where they cannot be had and `CI` is `true`.
pub fn with_requirements(text: &str) -> Option<PathBuf> {
    match environment(text) {
        Ok(interpreter) => Some(interpreter),
        Err(reason) => {
            skip(&format!("there is no Python 3 with {}: {reason}", text.replace('\n', ", ")));
            None
        }
    }
}

fn environment(requirements: &str) -> Result<PathBuf, String> {
    let mut asked = Command::new("python3");
    asked.args(["-c", "import sys; print(sys.version, sys.executable)"]);
    let output = asked.output().map_err(|error| format!("python3 did not start: {error}"))?;
    // Wheels fit one version of Python only.
    let mut hasher = DefaultHasher::new();
    (output.stdout, requirements).hash(&mut hasher);
    let folder = fetch::folder(&format!("python-{:016x}", hasher.finish()), |partial| {
        let mut venv = Command::new("python3");
        // pip stays outside, where it is: Debian's Python cannot install it into an environment.
        venv.args(["-m", "venv", "--without-pip"]).arg(partial);
        fetch::run(venv)?;
        let file = partial.join("requirements.txt");
        std::fs::write(&file, requirements).map_err(|error| format!("{}: {error}", file.display()))?;
        fetch::pip_install(&file, &site_packages(partial)?)
    })?;
    // An environment may be moved: it finds its packages from where its interpreter lies.
    Ok(interpreter(&folder))
}

fn interpreter(environment: &Path) -> PathBuf {
    environment.join("bin/python3")
}

/// The folder an environment's interpreter imports packages from.
fn site_packages(environment: &Path) -> Result<PathBuf, String> {
    let mut asked = Command::new(interpreter(environment));
    asked.args(["-c", "import sysconfig; print(sysconfig.get_path('purelib'), end='')"]);
    let output = asked.output().map_err(|error| format!("{asked:?} did not start: {error}"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    if said.is_empty() { Err(format!("{asked:?} named no folder")) } else { Ok(PathBuf::from(said.as_ref())) }
}

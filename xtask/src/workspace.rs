//! Where things are, and the cargo that called us.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

/// The folder of the workspace.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace")
}

/// Cargo's target directory: this program is TARGET_DIR/PROFILE/xtask.
pub(crate) fn target_dir() -> PathBuf {
    let program = env::current_exe().ok();
    let found = program.as_deref().and_then(|path| path.ancestors().nth(2)).map(Path::to_owned);
    found.unwrap_or_else(|| root().join("target"))
}

/// Where cargo's tools are installed: the user's home stays as it is.
pub(crate) fn tools() -> PathBuf {
    target_dir().join("tools")
}

/// A call of cargo in the workspace.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // They tell of the package that cargo runs (this one) and would reach the packages it builds.
    for (key, _) in env::vars_os() {
        let name = key.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(&key);
        }
    }
    cargo.current_dir(root());
    cargo
}

/// The file of a command on `PATH`, or where only root's `PATH` leads.
pub(crate) fn which(command: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let more = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    env::split_paths(&path).chain(more).map(|folder| folder.join(command)).find(|f| f.is_file())
}

//! The setting of the memory for clients, and the memory that this process may use.

use super::reader::Reader;
use super::row::{Rejected, Row, Values};
use super::setting::DefaultValue;
use std::fs;
use std::path::{Path, PathBuf};

pub(super) const CLIENT_MEMORY: Row<Bytes> = Row {
    env: "BTCFEED_CLIENT_MEMORY",
    help: "Maximum memory for data that clients have requested and do not read",
    details: "If more is needed, the server resets the responses and streams whose clients have read nothing for the \
              longest time. Most data of the live feed does not count, because clients share it.",
    values: Bytes,
    default: DefaultValue::Derived("a quarter of the memory of the machine, or of the control group if that has less"),
    example: "512MiB",
};

/// Smallest amount that is accepted. A few long responses together need this much.
const MIN_BYTES: usize = 16 * MIB;
/// By default, one `SHARE`th of the memory that this process may use is for clients.
const SHARE: usize = 4;
/// Folder of the control groups.
const CGROUPS: &str = "/sys/fs/cgroup";
const MIB: usize = 1 << 20;
const UNITS: [(&str, usize); 3] = [("KiB", 1 << 10), ("MiB", MIB), ("GiB", 1 << 30)];

/// Amounts of memory.
#[derive(Clone, Copy)]
pub(super) struct Bytes;

impl Values for Bytes {
    type Value = usize;

    fn expected(&self) -> String {
        "an amount of memory such as 512MiB or 2GiB, at least 16MiB".to_owned()
    }

    fn parse(&self, text: &str) -> Result<usize, Rejected> {
        let unit = UNITS.iter().find_map(|(name, bytes)| Some((text.strip_suffix(name)?, *bytes)));
        let (number, unit) = unit.unwrap_or((text, 1));
        let bytes = number.parse::<usize>().ok().and_then(|number| number.checked_mul(unit));
        bytes.filter(|bytes| *bytes >= MIN_BYTES).ok_or(Rejected::Unexpected)
    }
}

/// Returns an amount of memory as text.
pub(super) fn format(bytes: usize) -> String {
    if bytes.is_multiple_of(MIB) { format!("{}MiB", bytes / MIB) } else { bytes.to_string() }
}

/// Reads the memory for clients.
pub(super) fn read(reader: &mut Reader<'_>) -> usize {
    reader.lookup(&CLIENT_MEMORY).unwrap_or_else(|| ((available() / SHARE).max(MIN_BYTES) / MIB) * MIB)
}

/// Returns the memory that this process may use.
fn available() -> usize {
    let info = rustix::system::sysinfo();
    let machine = usize::try_from(info.totalram).unwrap_or(usize::MAX).saturating_mul(info.mem_unit as usize);
    let group = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    machine.min(group_limit(Path::new(CGROUPS), &group).unwrap_or(usize::MAX))
}

/// Returns the lowest limit of the control group in `group` (the content of `/proc/self/cgroup`) and of its ancestors.
/// `root` always counts, because in a container the files of the container's group are usually directly in it. For
/// control groups of version 1, only the limit in `root` is read.
fn group_limit(root: &Path, group: &str) -> Option<usize> {
    let own = group.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let folders = Path::new(own).ancestors().map(|folder| root.join(folder).join("memory.max"));
    let old = [PathBuf::from("memory/memory.limit_in_bytes")].map(|file| root.join(file));
    let read = |file: PathBuf| fs::read_to_string(file).ok()?.trim().parse::<usize>().ok();
    folders.chain(old).filter_map(read).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_units() {
        let parse = |text| Bytes.parse(text).ok();
        assert_eq!(parse("512MiB"), Some(512 << 20));
        assert_eq!(
            (parse("2GiB"), parse("16384KiB"), parse("16777216")),
            (Some(2 << 30), Some(16 << 20), Some(16 << 20))
        );
        for text in ["15MiB", "1GB", "MiB", "", "-1GiB", "99999999999999999999GiB", "17179869184GiB"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn lowest_limit_of_the_group_applies() {
        let root = tempfile::tempdir().unwrap();
        let limit = |group: &str| group_limit(root.path(), group);
        assert_eq!(limit("0::/a/b\n"), None);
        fs::create_dir_all(root.path().join("a/b")).unwrap();
        fs::write(root.path().join("a/memory.max"), "1000\n").unwrap();
        fs::write(root.path().join("a/b/memory.max"), "max\n").unwrap();
        assert_eq!((limit("0::/a/b\n"), limit("0::/\n")), (Some(1000), None));
        fs::write(root.path().join("memory.max"), "900\n").unwrap();
        assert_eq!((limit("0::/a/b\n"), limit("0::/\n")), (Some(900), Some(900)));
    }
}

//! Disks with a sector that cannot be read, under a file that is mapped.

use std::path::Path;

use super::tools::{Mounts, ended_by_itself, tells};
use crate::cli::binary::{Place, argument, id_of};

/// Bodies of the store, each of [`BODY_LEN`] bytes: more than one segment.
const BODIES: usize = 90;

const BODY_LEN: usize = 1 << 20;

/// Length of the file system in bytes.
const IMAGE_LEN: u64 = 256 << 20;

fn body(number: usize) -> String {
    let mut body = format!("body {number} ");
    body.push_str(&"x".repeat(BODY_LEN - body.len()));
    body
}

/// Where a file lies on the file system: offset of its first byte on the device, if it is whole.
fn device_offset(mounts: &Mounts, file: &Path) -> u64 {
    let extents = mounts.tool(&["filefrag", "-b1", "-v", argument(file)]).ok();
    let first = extents.text().lines().find(|line| line.trim_start().starts_with("0:")).unwrap();
    let physical = first.split(':').nth(2).unwrap().split("..").next().unwrap();
    physical.trim().parse().unwrap()
}

/// A sealed segment lies last on the device, and the device ends in the middle of it: reads of the
/// other half are answered by the disk with an error, and a touch of the mapped pages by a signal.
#[test]
#[ignore = "needs root, for a loop device: .ci/run"]
fn a_mapped_segment_with_unreadable_pages_is_an_error_and_no_signal() {
    let (place, mounts) = (Place::new(), Mounts::new());
    let bodies: Vec<String> = (0..BODIES).map(body).collect();
    place.run_with(&["append", "--store", "s"], bodies.join("\n")).ok();
    place.run(&["checkpoint", "--store", "s"]).ok();
    let (image, disk) = (place.path("image"), place.path("disk"));
    std::fs::File::create(&image).unwrap().set_len(IMAGE_LEN).unwrap();
    std::fs::create_dir(&disk).unwrap();
    mounts.tool(&["mkfs.ext4", "-q", "-O", "^has_journal", argument(&image)]).code(0);
    mounts.mount(&["-o", "loop", argument(&image), argument(&disk)]);
    let from = place.path("s");
    let mut names: Vec<String> = std::fs::read_dir(&from)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with("spare"))
        .collect();
    names.sort();
    let sealed = names.iter().position(|name| name.starts_with("segment")).unwrap();
    let sealed = names.remove(sealed);
    for name in names.iter().chain([&sealed]) {
        let to = disk.join(name);
        mounts.tool(&["cp", argument(&from.join(name)), argument(&to)]).code(0);
        mounts.tool(&["sync", argument(&to)]).code(0);
    }
    let cut = device_offset(&mounts, &disk.join(&sealed))
        + std::fs::metadata(from.join(&sealed)).unwrap().len() / 2;
    mounts.tool(&["umount", argument(&disk)]).code(0);
    mounts.mount(&["-o", "loop,ro", argument(&image), argument(&disk)]);
    std::fs::File::options().write(true).open(&image).unwrap().set_len(cut).unwrap();

    let (mut whole, mut refused) = (0, 0);
    for body in &bodies {
        let outcome = mounts.run(&place, &["get", &id_of(body), "--store", argument(&disk)], "");
        ended_by_itself(&outcome);
        if outcome.code == 0 {
            assert_eq!(outcome.text(), body);
            whole += 1;
        } else {
            assert!(tells(&outcome.stderr, 5), "{}", outcome.stderr);
            refused += 1;
        }
    }
    assert!(whole > BODIES / 3 && refused > BODIES / 5, "{whole} read, {refused} refused");
    let checked = mounts.run(&place, &["check", "--deep", "--store", argument(&disk)], "");
    ended_by_itself(&checked);
    assert_ne!(checked.code, 0, "{checked:?}");
}

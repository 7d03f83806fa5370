//! Tests of `bundles`.

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

fn empty() -> (TempDir, Bundles) {
    let folder = tempfile::tempdir().unwrap();
    let bundles = Bundles::new(folder.path());
    bundles.open();
    (folder, bundles)
}

fn body(seed: u64, length: usize) -> Vec<u8> {
    (0..length as u64).map(|index| (seed * 31 + index * 7 + (index >> 8)) as u8).collect()
}

fn on_disk(folder: &TempDir) -> usize {
    fs::read_dir(folder.path()).unwrap().count()
}

#[test]
fn what_is_damaged_gone_or_cut_short_is_found_to_be() {
    type Spoil = fn(&Path);
    let spoils: [Spoil; 3] = [
        |file| fs::write(file, body(2, 1000)).unwrap(),
        |file| fs::remove_file(file).unwrap(),
        |file| fs::write(file, &body(1, 1000)[..999]).unwrap(),
    ];
    for spoil in spoils {
        let (folder, bundles) = empty();
        let small = bundles.append(&body(1, 1000)).unwrap();
        bundles.flush().unwrap();
        assert_eq!(bundles.read(&small).unwrap(), body(1, 1000));
        let (spot, sum) = (small.spot(), small.sum());
        let again = Bundles::new(folder.path());
        let same = again.restore(spot, sum).unwrap();
        spoil(&path(folder.path(), spot.bundle));
        assert!(matches!(again.read(&same), Err(Error::Damaged)));
    }
}

#[test]
fn a_record_without_its_bytes_is_nothing_and_its_place_is_never_somebody_elses_body() {
    let (folder, bundles) = empty();
    let small = bundles.append(&body(1, 1000)).unwrap();
    // It was never written: the process was killed.
    let again = Bundles::new(folder.path());
    assert!(again.restore(small.spot(), small.sum()).is_none());
    again.open();
    let other = again.append(&body(2, 1000)).unwrap();
    again.flush().unwrap();
    assert_ne!(other.spot().bundle, small.spot().bundle);
    // Were it the same, as after a power cut, the checksum would tell.
    let taken = again.restore(other.spot(), small.sum()).unwrap();
    assert!(matches!(again.read(&taken), Err(Error::Damaged)));
}

#[test]
fn a_file_goes_when_nobody_refers_to_it_and_not_before() {
    let (folder, bundles) = empty();
    let smalls: Vec<_> =
        (0..3 * LARGEST / 4000).map(|seed| bundles.append(&body(seed, 4000)).unwrap()).collect();
    bundles.flush().unwrap();
    bundles.sync().unwrap();
    let files = on_disk(&folder);
    assert!(files >= 3);
    assert!(bundles.unused().is_empty());
    let (first, others): (Vec<_>, Vec<_>) = smalls.into_iter().partition(|small| small.spot().bundle == 0);
    drop(first);
    assert_eq!(bundles.unused(), [0]);
    bundles.remove(&[0]);
    assert_eq!(on_disk(&folder), files - 1);
    assert_eq!(
        bundles.on_disk(),
        fs::read_dir(folder.path())
            .unwrap()
            .map(|file| { file.unwrap().metadata().unwrap().len().div_ceil(PAGE) * PAGE })
            .sum::<u64>()
    );
    for small in &others {
        bundles.read(small).unwrap();
    }
}

#[test]
fn the_files_with_most_dead_bytes_are_rewritten_and_no_more_than_need_be() {
    let (_folder, bundles) = empty();
    let mut smalls: Vec<_> =
        (0..4 * LARGEST / 4000).map(|seed| bundles.append(&body(seed, 4000)).unwrap()).collect();
    assert!(bundles.to_rewrite(0).is_empty());
    let mut kept = 0;
    smalls.retain(|small| {
        kept += 1;
        // All are damaged a little, number 2 by half.
        kept % 20 != 0 && (small.spot().bundle != 2 || kept % 2 == 0)
    });
    let dead: u64 = 4 * LARGEST / 4000 * 4000 - bundles.live();
    assert!(bundles.to_rewrite(dead).is_empty());
    assert_eq!(bundles.to_rewrite(dead - 1).into_iter().collect::<Vec<_>>(), [2]);
    assert_eq!(bundles.to_rewrite(0).len(), 4);
    // What is rewritten is not appended to.
    assert_eq!(bundles.append(&body(0, 10)).unwrap().spot().bundle, 4 + u32::from(kept % 524 != 0) - 1);
}

#[test]
fn starts_do_not_leave_a_file_each() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..5 {
        let bundles = Bundles::new(folder.path());
        bundles.open();
        let small = bundles.append(&body(round, 100)).unwrap();
        bundles.flush().unwrap();
        assert_eq!(u64::from(small.spot().at), round * 100);
    }
    assert_eq!(on_disk(&folder), 1);
}

#[test]
fn a_disk_that_takes_nothing_does_not_fill_the_memory() {
    let (folder, bundles) = empty();
    drop(folder);
    let mut smalls = Vec::new();
    while let Some(small) = bundles.append(&body(1, 4000)) {
        smalls.push(small);
        assert!(smalls.len() as u64 <= BACKLOG / 4000 + 1);
    }
    assert!(bundles.flush().is_err());
    assert_eq!(bundles.read(&smalls[17]).unwrap(), body(1, 4000), "what is in memory is there");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_read_is_what_was_appended(steps in prop::collection::vec((1usize..5000, any::<bool>()), 1..60)) {
        let (folder, bundles) = empty();
        let mut smalls = Vec::new();
        for (seed, (length, flushes)) in (0..).zip(steps) {
            smalls.push((seed, length, bundles.append(&body(seed, length)).unwrap()));
            if flushes {
                bundles.flush().unwrap();
            }
            for (seed, length, small) in &smalls {
                prop_assert_eq!(bundles.read(small).unwrap(), body(*seed, *length));
            }
        }
        prop_assert_eq!(bundles.live(), smalls.iter().map(|(_, length, _)| *length as u64).sum::<u64>());
        bundles.flush().unwrap();
        let again = Bundles::new(folder.path());
        for (seed, length, small) in &smalls {
            let restored = again.restore(small.spot(), small.sum()).unwrap();
            prop_assert_eq!(again.read(&restored).unwrap(), body(*seed, *length));
        }
    }
}

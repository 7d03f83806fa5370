//! Names that are none: which one may be meant.
//!
//! Knows letters only; which names there are is the caller's.

/// The one of `names` that is most like `typed`, if one is much like it.
pub(super) fn nearest(typed: &str, names: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let typed = typed.to_ascii_lowercase();
    names
        .map(|name| (distance(&typed, name), name))
        .filter(|(distance, name)| *distance <= name.len() / 3)
        .min()
        .map(|(_, name)| name)
}

/// How many letters must be put in, left out, replaced or swapped with their neighbour to make `b` of `a`, of which
/// only the first 32 letters count: no name is that long.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(32).collect(), b.chars().collect());
    // Row i holds the distances of the first i letters of `a` to every beginning of `b`.
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            let swapped = if swapped { rows[i - 2][j - 2] + 1 } else { usize::MAX };
            row.push(replaced.min(swapped).min(rows[i - 1][j] + 1).min(row[j - 1] + 1));
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_recognised() {
        let check = |typed, meant: Option<&str>| {
            let names = ["rtt", "jitter", "handover", "geo", "geo-hts", "at"];
            assert_eq!(nearest(typed, names.into_iter()), meant, "{typed}");
        };
        check("rt", Some("rtt"));
        check("RTT", Some("rtt"));
        check("jiter", Some("jitter"));
        check("handvoer", Some("handover"));
        check("goe", Some("geo"));
        check("geo_hts", Some("geo-hts"));
        check("ta", None);
        check("delay", None);
        check("", None);
        check(&"é".repeat(1000), None);
    }
}

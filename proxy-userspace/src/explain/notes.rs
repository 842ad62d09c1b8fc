//! What is said at the end, whatever the form.

use super::Reading;

/// What has to be said: damage, and what was inferred.
#[must_use]
pub fn notes(reading: &Reading) -> Vec<String> {
    let mut notes = Vec::new();
    for (name, account) in &reading.accounts {
        let before = notes.len();
        notes.extend(account.notes.iter().map(|note| format!("{name}: {note}")));
        let skipped = &account.skipped;
        for (count, what) in [
            (skipped.truncated, "were cut off by the snap length before their TCP header ended"),
            (skipped.malformed, "have impossible headers"),
            (skipped.link, "are on a link type that is not known"),
            (skipped.interface, "are on an interface that the file does not describe"),
            (account.bad_checksums, "have a wrong TCP checksum"),
        ] {
            if count > 0 {
                notes.push(format!("{name}: {count} packet(s) {what}"));
            }
        }
        // What is said already may be why.
        if account.packets > 0 && account.segments == 0 && notes.len() == before {
            notes.push(format!("{name}: none of its {} packet(s) is read as TCP", account.packets));
        }
        if let Some(damage) = &account.damage {
            notes.push(format!(
                "{name}: damaged at byte {}: {}; what stands before was read",
                damage.offset, damage.what
            ));
        }
    }
    notes
}

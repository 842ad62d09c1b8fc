//! Captures of other projects, whole and damaged. They are not part of this one:
//! `TEARDOWN_CAPTURES` names the folder that holds `public/`.

mod support;

use std::collections::{HashMap, HashSet};
use std::io::Cursor;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::fixtures::{public, table};
use teardown::capture::{self, Account, Options, Seen, Sink, input::Input};

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("the folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|end| end != "tsv"))
        .collect();
    files.sort();
    assert!(files.len() > 70, "{} files", files.len());
    files
}

#[derive(Default)]
struct Count(u64);

impl Sink for Count {
    fn segment(&mut self, _: &Seen<'_>) -> ControlFlow<()> {
        self.0 += 1;
        ControlFlow::Continue(())
    }
}

fn read(bytes: Vec<u8>) -> Option<(u64, Account)> {
    let input = Input::new("bytes".into(), Cursor::new(bytes), 0, None).ok()?;
    let mut count = Count::default();
    let account = capture::read(input, &Options::default(), &mut count).ok()?;
    Some((count.0, account))
}

#[test]
fn a_cut_at_every_thousandth_byte_is_damage_and_no_crash() {
    let Some(folder) = public() else { return };
    let mut cuts = 0;
    for path in files(&folder) {
        let whole = std::fs::read(&path).expect("a file");
        let all = read(whole.clone()).map_or(0, |(segments, _)| segments);
        let binary = path.extension().is_some_and(|end| end != "txt");
        let mut before = 0;
        for cut in (1..whole.len()).step_by(1000) {
            let Some((segments, account)) = read(whole[..cut].to_vec()) else { continue };
            cuts += 1;
            assert!(segments <= all && segments >= before, "{} at {cut}", path.display());
            before = segments;
            if let Some(damage) = &account.damage {
                assert!(damage.offset <= cut as u64, "{} at {cut}: {damage:?}", path.display());
            } else if binary {
                // Without damage the cut stands between two packets: all before it is there.
                let again = read([&whole[..cut], &whole[cut..]].concat());
                assert_eq!(again.map(|(segments, _)| segments), Some(all));
            }
        }
    }
    assert!(cuts > 800, "{cuts} cuts");
}

/// A row's (orig, resp), with ports, as Zeek writes them.
type Ends = [String; 4];

/// The rows of our conn.log by their ends.
fn conn_log(file: &Path, checksums: bool) -> HashMap<Ends, Vec<Vec<String>>> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_teardown"));
    command.args(["explain", "--format-out", "zeek"]).arg(file);
    if checksums {
        command.arg("--checksums");
    }
    let output = command.output().expect("teardown runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(text.starts_with("#separator \\x09\n"), "{text}");
    let mut rows: HashMap<Ends, Vec<Vec<String>>> = HashMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let row: Vec<String> = line.split('\t').map(str::to_owned).collect();
        assert_eq!(row.len(), 22, "{line}");
        let ends = [2, 3, 4, 5].map(|at| row[at].clone());
        rows.entry(ends).or_default().push(row);
    }
    rows
}

/// Rows whose packet counts agree and whose answers do not, and why: file, originator's port, reason.
/// There is none.
const DIFFERS: &[(&str, &str, &str)] = &[];

#[test]
fn the_conn_log_is_zeeks() {
    let Some(folder) = public() else { return };
    let drops: HashSet<String> = table(&folder.join("index.tsv"))
        .into_iter()
        .filter(|row| row[5].contains("dropped"))
        .map(|row| row[0].clone())
        .collect();
    let (mut compared, mut different, mut strange) = (0, 0, Vec::new());
    for row in table(&folder.join("zeek-conn.tsv")) {
        // Three rows have no ends; the machine's own tests take them.
        let Ok(packets) = row[17].parse::<u64>() else { continue };
        let sum: u64 = [13, 15].map(|at| row[at].parse::<u64>().expect("a count")).iter().sum();
        if sum != packets {
            continue;
        }
        compared += 1;
        let ours = conn_log(&folder.join(&row[0]), drops.contains(&row[0]));
        let ends = [2, 3, 4, 5].map(|at| row[at].clone());
        let found = ours.get(&ends).map_or(&[][..], Vec::as_slice);
        // Bytes of data each way, state, history, packets each way. Bytes of IP are left out: where
        // segmentation offload leaves the length 0, Zeek counts 0.
        let told = [8, 9, 10, 12, 13, 15].map(|at| row[at].as_str());
        let columns = [9, 10, 11, 15, 16, 18];
        // The services that can be told; Zeek knows more of them.
        if ["ftp", "http"].contains(&&*row[6]) {
            assert!(found.iter().any(|ours| ours[7] == row[6]), "{row:?}\n    {found:?}");
        }
        let agrees = found.iter().any(|ours| columns.map(|at| ours[at].as_str()) == told);
        if agrees {
            continue;
        }
        different += 1;
        if !DIFFERS.iter().any(|known| (known.0, known.1) == (&*row[0], &*row[3])) {
            strange.push(format!("{row:?}\n    {found:?}"));
        }
    }
    assert!(strange.is_empty(), "{}", strange.join("\n"));
    assert_eq!(different, DIFFERS.len(), "a difference is gone");
    println!("{compared} connections, {different} of them differ as listed");
    assert!(compared >= 40, "only {compared} rows");
}

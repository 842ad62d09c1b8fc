//! Rounds in which the variants take turns, and their medians.

use std::fmt::Write;

/// What a variant came to, round by round.
#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) name: String,
    /// One value a round.
    pub(crate) values: Vec<f64>,
}

impl Column {
    /// The median over the rounds.
    pub(crate) fn median(&self) -> f64 {
        median(&self.values)
    }

    /// The median of the ratios to `base` in the same round.
    pub(crate) fn ratio(&self, base: &Self) -> f64 {
        let ratios: Vec<f64> =
            self.values.iter().zip(&base.values).map(|(value, base)| value / base).collect();
        median(&ratios)
    }
}

/// The middle of the values; of two middles, their mean.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.len(), sorted.len() / 2) {
        (0, _) => f64::NAN,
        (length, middle) if length % 2 == 1 => sorted[middle],
        (_, middle) => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// Runs `measure` for every variant in every round; each round begins with another variant, so
/// that none always follows the same one. Gives the results by variant.
pub(crate) fn interleaved<V: Copy, R>(
    rounds: usize,
    variants: &[V],
    mut measure: impl FnMut(V) -> R,
) -> Vec<Vec<R>> {
    let mut results: Vec<Vec<R>> = variants.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds {
        for turn in 0..variants.len() {
            let index = (round + turn) % variants.len();
            results[index].push(measure(variants[index]));
        }
    }
    results
}

/// A table of one measure: each variant's median, its range, and its ratio to the first.
pub(crate) fn table(title: &str, unit: &str, columns: &[Column]) -> String {
    let mut text = format!("{title} ({unit}; median, lowest to highest, ratio to the first)\n");
    for column in columns {
        let lowest = column.values.iter().copied().fold(f64::INFINITY, f64::min);
        let highest = column.values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let middle = column.median();
        write!(text, "  {:<14} {middle:>10.1}  {lowest:>10.1} to {highest:<10.1}", column.name)
            .expect("a string takes all");
        let ratio = column.ratio(&columns[0]);
        // Where the first took nothing there is no ratio to it.
        let ratio = if ratio.is_finite() { format!("  {ratio:.3}\n") } else { "\n".into() };
        text.push_str(&ratio);
    }
    text
}

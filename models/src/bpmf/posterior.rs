//! A row given the other side: its mean, and a draw from its distribution.

use burnrec_data::Csr;
use rand::Rng;
use rand_pcg::Pcg64;

use super::dense;
use super::groups::{RowSpans, Spans};
use super::source::Source;
use crate::least_squares::kernels::{add_weighted, combine, factorise, gather, solve_lower, solve_upper};
use crate::least_squares::lines::{Lines, padded};
use crate::least_squares::{Design, PANEL, add_entries, each_row, normal, residuals};
use crate::simd::{Isa, Kernel, Simd};

/// What the rows of a side are drawn by beside their values.
#[derive(Clone, Debug, PartialEq)]
pub struct Given {
    /// `[n_fixed, width]`: the other side, with the bias as the last element.
    pub fixed: Vec<f32>,
    /// `[width]`: the mean of the prior, without the shift of a row.
    pub mean: Vec<f32>,
    /// `[width, width]`: the precision of the prior, symmetric.
    pub precision: Vec<f32>,
    /// The precision of the values.
    pub noise: f32,
    /// `[n_fixed, width]`: the effects of the entries on the mean of a row's prior; empty where there are none.
    pub effects: Vec<f32>,
    /// `[n_fixed, bins]`: the biases of the other side in bins of time, which values are less; empty where there are none.
    pub bins: Vec<f32>,
    /// The precision of the prior of the biases of a row's spans, where there are such. They are not among what is given: a row
    /// is that of all values that they may have.
    pub span_strength: Option<f32>,
}

/// The distribution of the rows of a side. It does not depend on other rows, in training as for new users.
pub struct RowPosterior {
    given: Given,
    design: Design,
    width: usize,
    ld: usize,
    /// `[ld, ld]`: the precision of the prior by the noise's; 1 on the diagonal of the padding.
    base: Lines,
    isa: Isa,
}

/// Memory for a row, to be used again from row to row.
#[derive(Default)]
struct Scratch {
    targets: Vec<f32>,
    ones: Vec<f32>,
    rows: Lines,
    matrix: Lines,
    vectors: Lines,
    /// `[spans, ld]`: the sums of the other side's vectors.
    span_rows: Lines,
    span_weights: Vec<f32>,
    span_pulls: Vec<f32>,
}

impl RowPosterior {
    /// Prepares what all rows share.
    pub fn new(given: Given) -> Self {
        let width = given.mean.len();
        let (ld, design) = (padded(width), Design::new(&given.fixed, width));
        let mut base = Lines::zeros(ld * ld);
        for k in 0..ld {
            if let Some(row) = given.precision.chunks_exact(width).nth(k) {
                let to = &mut base[k * ld..k * ld + width];
                to.iter_mut().zip(row).for_each(|(to, x)| *to = x / given.noise);
            } else {
                base[k * ld + k] = 1.0;
            }
        }
        Self { given, design, width, ld, base, isa: Isa::best() }
    }

    /// Returns what it was made of.
    pub fn given(&self) -> &Given {
        &self.given
    }

    /// Writes the mean of each row of a matrix `[rows, n_fixed]` to `means`, `[rows, width]`. Values are less the mean of all and
    /// biases of bins; their spans, if any, are those of the matrix.
    pub fn means(&self, (rows, spans): (&Csr, Option<&Spans>), means: &mut [f32]) {
        each_row(rows.offsets(), self.width, [means], &|_| {}, |scratch: &mut Scratch, row, [mean]| {
            self.isa.run(Solve {
                posterior: self,
                entries: rows.row(row),
                spans: self.spans(spans, rows, row),
                scratch,
                mean,
                draw: None::<(Pcg64, _)>,
            });
        });
    }

    /// Does the same, and draws each row into `draws`, `[rows, width]`. `done` is called with the number of entries of each
    /// task when it is finished.
    pub fn draw(
        &self,
        (rows, spans): (&Csr, Option<&Spans>),
        source: Source,
        means: &mut [f32],
        draws: &mut [f32],
        done: &(dyn Fn(u64) + Sync),
    ) {
        each_row(
            rows.offsets(),
            self.width,
            [means, draws],
            done,
            |scratch: &mut Scratch, row, [mean, draw]| {
                let (entries, draw) = (rows.row(row), Some((source.rng(row), draw)));
                let spans = self.spans(spans, rows, row);
                self.isa.run(Solve { posterior: self, entries, spans, scratch, mean, draw });
            },
        );
    }

    /// Returns the mean of the bias of each span, `[n_spans]`, of rows with these means, `[rows, width]`.
    pub fn span_means(&self, (rows, spans): (&Csr, &Spans), means: &[f32]) -> Vec<f32> {
        let Given { fixed, span_strength, noise, .. } = &self.given;
        let residuals = residuals(rows, means, fixed, self.width);
        spans.groups.means(&residuals, span_strength.unwrap_or(1.0), *noise)
    }

    /// Returns the spans of a row, with the precision of their biases by that of the noise.
    fn spans<'a>(&self, spans: Option<&'a Spans>, rows: &Csr, row: usize) -> Option<(RowSpans<'a>, f32)> {
        let entries = rows.offsets()[row]..rows.offsets()[row + 1];
        Some((spans?.row(row, entries), self.given.span_strength? / self.given.noise))
    }

    /// Does the same as [`Solve`] for one row in f64, where f32 does not hold its matrix.
    fn solve_precise(
        &self,
        (cols, targets): (&[u32], &[f32]),
        spans: Option<(RowSpans<'_>, f32)>,
        prior: &[f32],
        noise: &[f32],
        out: [&mut [f32]; 2],
    ) {
        let (n, wide) = (self.width, |x: &f32| f64::from(*x));
        let mut a: Vec<f64> =
            self.base.chunks_exact(self.ld).take(n).flat_map(|row| row[..n].iter().map(wide)).collect();
        let dot = |row: &[f64]| row.iter().zip(prior).map(|(a, m)| a * wide(m)).sum::<f64>();
        let mut b: Vec<f64> = a.chunks_exact(n).map(dot).collect();
        let mut add = |weight: f64, q: &[f64], target: f64| {
            for (i, x) in q.iter().enumerate() {
                b[i] += weight * target * x;
                a[i * n + i..(i + 1) * n].iter_mut().zip(&q[i..]).for_each(|(a, y)| *a += weight * x * y);
            }
        };
        let row = |col: u32| self.design.factors[col as usize * n..][..n].iter().map(wide);
        for (&col, target) in cols.iter().zip(targets) {
            add(1.0, &row(col).collect::<Vec<f64>>(), wide(target));
        }
        if let Some((of, strength)) = spans {
            let (mut sums, mut pulls) = (vec![0.0; of.counts.len() * n], vec![0.0; of.counts.len()]);
            for ((&col, target), &group) in cols.iter().zip(targets).zip(of.of_entry) {
                let span = group as usize - of.first;
                sums[span * n..][..n].iter_mut().zip(row(col)).for_each(|(sum, x)| *sum += x);
                pulls[span] += wide(target);
            }
            for ((count, sum), pull) in of.counts.iter().zip(sums.chunks_exact(n)).zip(pulls) {
                add(-1.0 / (wide(&strength) + wide(count)), sum, pull);
            }
        }
        if !dense::factor(&mut a, n) {
            b.fill(f64::NAN);
        }
        dense::solve_lower(&a, n, &mut b);
        let mut drawn: Vec<f64> = b.iter().zip(noise).map(|(b, z)| b + wide(z)).collect();
        for (solution, out) in [&mut b, &mut drawn].into_iter().zip(out) {
            dense::solve_upper(&a, n, solution);
            out.iter_mut().zip(&*solution).for_each(|(out, &x)| *out = x as f32);
        }
    }
}

/// One row, as a kernel to dispatch.
struct Solve<'a, R> {
    posterior: &'a RowPosterior,
    entries: (&'a [u32], &'a [f32]),
    spans: Option<(RowSpans<'a>, f32)>,
    scratch: &'a mut Scratch,
    mean: &'a mut [f32],
    draw: Option<(R, &'a mut [f32])>,
}

impl<R: Rng> Kernel for Solve<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { posterior, entries: (cols, values), spans, scratch, mean, draw } = self;
        let RowPosterior { given, design, width, ld, base, .. } = posterior;
        let (width, ld) = (*width, *ld);
        let Scratch { targets, ones, rows, matrix, vectors, span_rows, span_weights, span_pulls } = scratch;
        vectors.grow(5 * ld);
        let mut parts = vectors.chunks_exact_mut(ld);
        let mut vector = || parts.next().expect("there are five vectors of `ld`");
        let (prior, b, inverses, half, noise) = (vector(), vector(), vector(), vector(), vector());
        prior.fill(0.0);
        prior[..width].copy_from_slice(&given.mean);
        add_shift(simd, &given.effects, cols, width, rows, ones, prior);

        design.targets(cols, values, targets);
        ones.clear();
        ones.resize(cols.len(), 1.0);
        matrix.grow(ld * ld);
        matrix[..ld * ld].copy_from_slice(base);
        b.fill(0.0);
        combine(simd, base, ld, &prior[..width], b);
        add_entries(simd, (&design.factors[..], width), cols, (&ones[..], &targets[..]), ld, rows, matrix, b);
        if let Some((of, strength)) = spans {
            // The biases of spans are integrated out: the precision of a span's values together is I - 1 1^T / (strength + n).
            let n = of.counts.len();
            span_rows.grow(n * ld);
            span_rows[..n * ld].fill(0.0);
            span_pulls.clear();
            span_pulls.resize(n, 0.0);
            for ((&col, target), &group) in cols.iter().zip(&*targets).zip(of.of_entry) {
                let (span, row) =
                    (group as usize - of.first, &design.factors[col as usize * width..][..width]);
                span_rows[span * ld..][..width].iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
                span_pulls[span] += target;
            }
            span_weights.clear();
            span_weights.extend(of.counts.iter().map(|count| -1.0 / (strength + count)));
            span_pulls.iter_mut().zip(&*span_weights).for_each(|(pull, weight)| *pull *= weight);
            combine(simd, span_rows, ld, span_pulls, b);
            add_weighted(simd, span_rows, ld, span_weights, matrix);
        }

        // Everything is by the precision of the noise, so that a draw's part is by its root.
        noise.fill(0.0);
        let mut draw = draw;
        if let Some((rng, _)) = &mut draw {
            normal(rng, given.noise.sqrt().recip(), &mut noise[..width]);
        }
        inverses.fill(0.0);
        if !factorise(simd, matrix, ld, inverses) {
            let mut none = vec![0.0; width];
            let draw = draw.map_or(&mut none[..], |(_, draw)| draw);
            posterior.solve_precise(
                (cols, &targets[..]),
                spans,
                &prior[..width],
                &noise[..width],
                [mean, draw],
            );
            return;
        }
        solve_lower(simd, matrix, ld, inverses, b, half);
        solve_upper(simd, matrix, ld, inverses, half, b);
        mean.copy_from_slice(&b[..width]);
        if let Some((_, draw)) = draw {
            half.iter_mut().zip(&*noise).for_each(|(half, noise)| *half += noise);
            solve_upper(simd, matrix, ld, inverses, half, b);
            draw.copy_from_slice(&b[..width]);
        }
    }
}

/// Adds the shift of a row with entries at `cols`, the sum of their effects by the root of their number, to `out`; `effects`
/// are `[_, width]` or none, the rest is scratch.
#[inline(always)]
pub fn add_shift<S: Simd>(
    simd: S,
    effects: &[f32],
    cols: &[u32],
    width: usize,
    rows: &mut Lines,
    weights: &mut Vec<f32>,
    out: &mut [f32],
) {
    if effects.is_empty() {
        return;
    }
    let ld = padded(width);
    weights.clear();
    weights.resize(cols.len().min(PANEL), (cols.len() as f32).sqrt().recip());
    rows.grow(PANEL * ld);
    for cols in cols.chunks(PANEL) {
        gather(simd, effects, width, 0..width, cols, ld, rows);
        combine(simd, rows, ld, &weights[..cols.len()], out);
    }
}

// Percentiles and means of samples. Invariant: nothing here knows where samples come from.

/** The nearest-rank percentile; NaN of no samples. */
export function percentile(samples, percent) {
  const sorted = Float64Array.from(samples).sort();
  if (sorted.length === 0) {
    return NaN;
  }
  return sorted[
    Math.min(sorted.length - 1, Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1))
  ];
}

export function median(values) {
  const sorted = Float64Array.from(values).sort();
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

export function mean(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

export function geometricMean(values) {
  return Math.exp(mean(values.map(Math.log)));
}

/** The same in another order each round, so that none always follows the same other. */
export function rotated(list, round) {
  const at = round % list.length;
  return [...list.slice(at), ...list.slice(0, at)];
}

/** One round of one client that asks again as soon as it is answered. */
export function summarize(samples) {
  return {
    p50: percentile(samples, 50),
    p99: percentile(samples, 99),
    per_second: 1000 / mean(samples),
    samples: samples.length,
  };
}

/** What several rounds say: the median of each of their figures. */
export function ofRounds(rounds) {
  const field = (name) => median(rounds.map((round) => round[name]));
  return {
    p50: field("p50"),
    p99: field("p99"),
    per_second: field("per_second"),
    samples: rounds.reduce((sum, round) => sum + round.samples, 0),
    p50s: rounds.map((round) => round.p50),
  };
}

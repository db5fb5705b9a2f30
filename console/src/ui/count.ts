/** Counts end at 10,000: nobody counts further. */
export const count = (value: number) => (value >= 10_000 ? '10,000+' : value.toLocaleString('en'));

/** 99.97 % is not 100 %. */
export function percent(rate: number): string {
  if (rate === 1) return '100 %';
  return `${Math.min(99.9, Math.floor(rate * 1_000) / 10)} %`;
}

import { scaleLinear } from 'd3-scale';

const [WIDTH, HEIGHT, GAP] = [96, 24, 1];

/** A bar for each hour. A quiet hour has a dot of a bar, so that the line is seen. */
export function Sparkline({ values, label }: { values: readonly number[]; label: string }) {
  const height = scaleLinear([0, Math.max(1, ...values)], [1, HEIGHT]);
  const width = WIDTH / Math.max(1, values.length);
  return (
    <svg className="sparkline" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={label}>
      {values.map((value, index) => (
        <rect
          // biome-ignore lint/suspicious/noArrayIndexKey: an hour is its place
          key={index}
          className={value === 0 ? 'bar-none' : 'bar-some'}
          x={index * width}
          width={width - GAP}
          y={HEIGHT - height(value)}
          height={height(value)}
          rx={1}
        />
      ))}
    </svg>
  );
}

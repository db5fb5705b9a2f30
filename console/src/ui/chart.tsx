/** Attempts over time, stacked by outcome, with the 95th percentile as a line. SVG, scaled by d3. */
import { scaleLinear, scaleTime } from 'd3-scale';
import { curveMonotoneX, line, stack } from 'd3-shape';
import { useLayoutEffect, useMemo, useRef, useState } from 'react';
import type { AnswerTo } from 'rowhook/client';
import { fullTime, ms } from './time.tsx';

export type Bucket = AnswerTo<'/api/v1/{org}/outgoing-webhooks/{id}/stats'>['data'][number];

const HEIGHT = 240;
/** A label of the time takes this much. */
const TICK_WIDTH = 90;
const MARGIN = { top: 12, right: 54, bottom: 26, left: 46 };
const KINDS = ['success', 'failed', 'skipped'] as const;
const NAMES = { success: 'Delivered', failed: 'Failed', skipped: 'Skipped' } as const;

const DAY_MS = 86_400_000;
const DATE = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short' });
const HOUR = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });

interface ChartProps {
  data: readonly Bucket[];
  unitMs: number;
  /** How many units the chart has. Those without an attempt are not in `data`. */
  count: number;
}

export function AttemptsChart({ data, unitMs, count }: ChartProps) {
  const [pointed, setPointed] = useState<number | null>(null);
  const [svg, chartWidth] = useWidth();
  const end = Math.ceil(Date.now() / unitMs) * unitMs;
  const start = end - count * unitMs;
  const shown = useMemo(() => data.filter(({ at }) => Date.parse(at) >= start), [data, start]);
  const most = Math.max(4, ...shown.map((one) => one.success + one.failed + one.skipped));
  const slowest = Math.max(10, ...shown.map(({ p95 }) => p95 ?? 0));

  const x = scaleTime([new Date(start), new Date(end)], [MARGIN.left, chartWidth - MARGIN.right]);
  const y = scaleLinear([0, most], [HEIGHT - MARGIN.bottom, MARGIN.top]).nice(4);
  const slow = scaleLinear([0, slowest], [HEIGHT - MARGIN.bottom, MARGIN.top]).nice(4);
  const width = Math.max(1, (chartWidth - MARGIN.left - MARGIN.right) / count - 1);
  const layers = stack<Bucket, (typeof KINDS)[number]>().keys(KINDS)([...shown]);
  const percentile = line<Bucket>()
    .defined(({ p95 }) => p95 !== null)
    .x(({ at }) => x(new Date(Date.parse(at) + unitMs / 2)))
    .y(({ p95 }) => slow(p95 ?? 0))
    .curve(curveMonotoneX);
  const one = pointed === null ? undefined : shown[pointed];
  return (
    <figure className="chart">
      <figcaption className="legend">
        {KINDS.map((kind) => (
          <span key={kind} className={`legend-${kind}`}>
            {NAMES[kind]}
          </span>
        ))}
        <span className="legend-p95">95th percentile (right)</span>
        <span className="legend-value" aria-hidden="true">
          {one
            ? `${fullTime(one.at)}: ${one.success} delivered, ${one.failed} failed, p50 ${ms(one.p50)}, p95 ${ms(one.p95)}`
            : ''}
        </span>
      </figcaption>
      <svg ref={svg} role="img" aria-label={summary(shown)} className="chart-svg">
        {y.ticks(4).map((tick) => (
          <g key={tick}>
            <line className="grid" x1={MARGIN.left} x2={chartWidth - MARGIN.right} y1={y(tick)} y2={y(tick)} />
            <text className="tick" x={MARGIN.left - 8} y={y(tick) + 4} textAnchor="end">
              {tick}
            </text>
          </g>
        ))}
        {slow.ticks(3).map((tick) => (
          <text key={tick} className="tick" x={chartWidth - MARGIN.right + 8} y={slow(tick) + 4}>
            {tick >= 1_000 ? `${tick / 1_000} s` : `${tick} ms`}
          </text>
        ))}
        {x.ticks(Math.min(8, Math.floor(chartWidth / TICK_WIDTH))).map((tick) => (
          <text key={tick.getTime()} className="tick" x={x(tick)} y={HEIGHT - 6} textAnchor="middle">
            {(unitMs >= DAY_MS || tick.getHours() + tick.getMinutes() === 0 ? DATE : HOUR).format(tick)}
          </text>
        ))}
        {layers.map((layer) => (
          <g key={layer.key} className={`bar-${layer.key}`}>
            {layer.map(([low, high], index) => {
              const bucket = shown[index];
              if (bucket === undefined || high === low) return null;
              return (
                <rect key={bucket.at} x={x(new Date(bucket.at))} width={width} y={y(high)} height={y(low) - y(high)} />
              );
            })}
          </g>
        ))}
        <path className="line-p95" d={percentile([...shown]) ?? ''} />
        {shown.length === 1 && shown[0] && shown[0].p95 !== null && (
          <circle
            className="dot-p95"
            cx={x(new Date(Date.parse(shown[0].at) + unitMs / 2))}
            cy={slow(shown[0].p95)}
            r={3}
          />
        )}
        {shown.length === 0 && (
          <text className="chart-none" x={chartWidth / 2} y={HEIGHT / 2} textAnchor="middle">
            No attempts in this time
          </text>
        )}
        {shown.map((bucket, index) => (
          <rect
            key={bucket.at}
            className="hit"
            x={x(new Date(bucket.at))}
            width={width + 1}
            y={MARGIN.top}
            height={HEIGHT - MARGIN.top - MARGIN.bottom}
            onPointerEnter={() => setPointed(index)}
            onPointerLeave={() => setPointed(null)}
          />
        ))}
      </svg>
      {shown.length > 0 && <ChartTable data={shown} />}
    </figure>
  );
}

/** A chart that is scaled down has labels that nobody can read, so it is drawn as wide as it is shown. */
function useWidth() {
  const element = useRef<SVGSVGElement>(null);
  const [width, setWidth] = useState(900);
  useLayoutEffect(() => {
    const { current } = element;
    if (current === null) return;
    setWidth(current.clientWidth);
    const observer = new ResizeObserver(() => setWidth(current.clientWidth));
    observer.observe(current);
    return () => observer.disconnect();
  }, []);
  return [element, width] as const;
}

function summary(data: readonly Bucket[]): string {
  const sum = (kind: (typeof KINDS)[number]) => data.reduce((all, one) => all + one[kind], 0);
  if (data.length === 0) return 'No attempts in this time.';
  return `${sum('success')} delivered, ${sum('failed')} failed, ${sum('skipped')} skipped. The table has each part.`;
}

function ChartTable({ data }: { data: readonly Bucket[] }) {
  return (
    <details className="chart-table">
      <summary>As a table</summary>
      <div className="scroll">
        <table>
          <thead>
            <tr>
              {['Time', 'Delivered', 'Failed', 'Skipped', 'p50', 'p95'].map((name) => (
                <th key={name} scope="col">
                  {name}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {[...data].reverse().map((one) => (
              <tr key={one.at}>
                <td>{fullTime(one.at)}</td>
                <td>{one.success}</td>
                <td>{one.failed}</td>
                <td>{one.skipped}</td>
                <td>{ms(one.p50)}</td>
                <td>{ms(one.p95)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </details>
  );
}

/** Line charts as SVG text: what the report needs of a charting library, without one. */

type Scale = 'linear' | 'log' | 'percentile';

export interface Line {
  readonly name: string;
  readonly color: string;
  /** x and y; x grows. On a log scale both must be over 0. */
  readonly points: readonly (readonly [number, number])[];
}

export interface Chart {
  readonly title: string;
  readonly xLabel: string;
  readonly yLabel: string;
  /** `percentile`: x is a share from 0 to below 1, drawn so that 90, 99 and 99.9 % are equally far apart. */
  readonly xScale: Scale;
  readonly yScale: 'linear' | 'log';
  readonly lines: readonly Line[];
}

const width = 560;
const height = 300;
const margin = { left: 62, right: 14, top: 10, bottom: 42 };

/** The chart and its legend as HTML. Lines without points are left out; a chart without lines is an empty string. */
export function chartHtml(chart: Chart): string {
  const lines = chart.lines
    .map((line) => ({ ...line, points: line.points.filter(([x, y]) => drawable(chart, x, y)) }))
    .filter(({ points }) => points.length > 0);
  if (lines.length === 0) return '';
  const x = axis(
    chart.xScale,
    lines.flatMap(({ points }) => points.map((point) => point[0])),
    [margin.left, width - margin.right],
  );
  const y = axis(
    chart.yScale,
    lines.flatMap(({ points }) => points.map((point) => point[1])),
    [height - margin.bottom, margin.top],
  );
  const drawn = lines.map((line) => polyline(line, x, y)).join('');
  const legend = lines
    .map(({ name, color }) => `<span><i style="background:${color}"></i>${escapeHtml(name)}</span>`)
    .join('');
  return `<figure><figcaption>${escapeHtml(chart.title)}</figcaption><div class="legend">${legend}</div><svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${escapeHtml(chart.title)}">${grid(x, y)}${drawn}<text class="label" x="${(margin.left + width - margin.right) / 2}" y="${height - 6}" text-anchor="middle">${escapeHtml(chart.xLabel)}</text><text class="label" transform="translate(13 ${(margin.top + height - margin.bottom) / 2}) rotate(-90)" text-anchor="middle">${escapeHtml(chart.yLabel)}</text></svg></figure>`;
}

function drawable(chart: Chart, x: number, y: number): boolean {
  if (!Number.isFinite(x) || !Number.isFinite(y)) return false;
  return (chart.xScale !== 'log' || x > 0) && (chart.yScale !== 'log' || y > 0);
}

interface Axis {
  readonly at: (value: number) => number;
  readonly ticks: readonly { readonly value: number; readonly text: string }[];
}

function axis(scale: Scale, values: readonly number[], [from, to]: readonly [number, number]): Axis {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  switch (scale) {
    case 'percentile': {
      const nines = (share: number): number => -Math.log10(1 - share);
      const most = Math.max(1, nines(high));
      const ticks = [0, 0.5, 0.9, 0.99, 0.999, 0.9999].filter((share) => nines(share) <= most + 0.01);
      const texts = ticks.map((value) => ({ value, text: `${Number((value * 100).toFixed(2))} %` }));
      return { at: (share) => from + (nines(share) / most) * (to - from), ticks: texts };
    }
    case 'log': {
      // From tick to tick, so that values within less than a power of ten have an axis too.
      const around = logTicks(low / 10, high * 10);
      const bottom = around.filter((tick) => tick <= low * 1.001).at(-1) ?? low;
      const top = around.find((tick) => tick >= high * 0.999 && tick > bottom * 1.001) ?? high * 10;
      const at = (value: number): number =>
        from + (Math.log(value / bottom) / Math.log(top / bottom)) * (to - from);
      return { at, ticks: logTicks(bottom, top).map((value) => ({ value, text: short(value) })) };
    }
    case 'linear': {
      const bottom = Math.min(0, low);
      const step = niceStep((high - bottom) / 5);
      const top = Math.max(bottom + step, Math.ceil(high / step) * step);
      const count = Math.round((top - bottom) / step);
      const ticks = Array.from({ length: count + 1 }, (_, index) => bottom + index * step);
      const at = (value: number): number => from + ((value - bottom) / (top - bottom)) * (to - from);
      return { at, ticks: ticks.map((value) => ({ value, text: short(value) })) };
    }
  }
}

/** 1, 2 and 5 of each power of ten; of many powers only the ones. */
function logTicks(bottom: number, top: number): number[] {
  const powers = Math.ceil(Math.log10(top)) - Math.floor(Math.log10(bottom));
  const steps = powers > 4 ? [1] : [1, 2, 5];
  const ticks: number[] = [];
  for (let power = Math.floor(Math.log10(bottom)); power <= Math.ceil(Math.log10(top)); power++) {
    ticks.push(...steps.map((step) => step * 10 ** power));
  }
  return ticks.filter((tick) => tick >= bottom * 0.999 && tick <= top * 1.001);
}

function niceStep(raw: number): number {
  if (!(raw > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  return ([1, 2, 5, 10].find((step) => step * power >= raw * 0.999) ?? 10) * power;
}

/** A tick's text: thousands as k, and no digits that say nothing. */
function short(value: number): string {
  if (Math.abs(value) >= 1_000_000) return `${Number((value / 1_000_000).toPrecision(3))}M`;
  if (Math.abs(value) >= 1000) return `${Number((value / 1000).toPrecision(3))}k`;
  return String(Number(value.toPrecision(3)));
}

function grid(x: Axis, y: Axis): string {
  const [left, right, top, bottom] = [margin.left, width - margin.right, margin.top, height - margin.bottom];
  const across = y.ticks.map(
    ({ value, text }) =>
      `<path class="grid" d="M${left} ${round(y.at(value))}H${right}"/><text x="${left - 6}" y="${round(y.at(value) + 4)}" text-anchor="end">${text}</text>`,
  );
  const down = x.ticks.map(
    ({ value, text }) =>
      `<path class="grid" d="M${round(x.at(value))} ${top}V${bottom}"/><text x="${round(x.at(value))}" y="${bottom + 15}" text-anchor="middle">${text}</text>`,
  );
  return [...across, ...down, `<path class="axis" d="M${left} ${top}V${bottom}H${right}"/>`].join('');
}

function polyline({ name, color, points }: Line, x: Axis, y: Axis): string {
  const path = points.map(
    ([px, py], index) => `${index === 0 ? 'M' : 'L'}${round(x.at(px))} ${round(y.at(py))}`,
  );
  const dots =
    points.length > 25
      ? ''
      : points
          .map(
            ([px, py]) => `<circle cx="${round(x.at(px))}" cy="${round(y.at(py))}" r="3" fill="${color}"/>`,
          )
          .join('');
  return `<g><title>${escapeHtml(name)}</title><path d="${path.join('')}" fill="none" stroke="${color}" stroke-width="2" stroke-linejoin="round"/>${dots}</g>`;
}

const round = (value: number): number => Math.round(value * 10) / 10;

export function escapeHtml(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}

'use strict';
(() => {
  const charts = JSON.parse(document.getElementById('charts').textContent);
  const dark = matchMedia('(prefers-color-scheme: dark)');
  const colour = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const faded = (rgb, part) => rgb + Math.round(part * 255).toString(16).padStart(2, '0');
  const WHOLE = [1, 2, 5].flatMap(digit => [...Array(9).keys()].map(power => digit * 10 ** power)).sort((a, b) => a - b);
  const FONT = '11px system-ui, sans-serif';

  /* What uPlot draws of each series: a curve, and for several seeds the edges of their spread. */
  function columns(chart) {
    const tables = [], series = [], bands = [];
    for (const one of chart.series) {
      const stroke = colour('--c' + one.colour);
      const dots = {show: one.x.length < 40, size: 5, fill: stroke};
      series.push({label: one.label, stroke, width: 2, spanGaps: true, points: dots, value: (u, v) => shown(v)});
      tables.push([one.x, one.y]);
      if (one.low) {
        for (const edge of [one.high, one.low]) {
          series.push({label: '', class: 'edge', stroke: faded(stroke, .3), width: .5, spanGaps: true, points: {show: false}});
          tables.push([one.x, edge]);
        }
        bands.push({series: [series.length - 1, series.length], fill: faded(stroke, .15)});
      }
    }
    return {data: uPlot.join(tables), series, bands};
  }

  /* As a tick of an axis, for which there is little room. */
  function short(value) {
    if (value == null) return '';
    const text = String(+value.toPrecision(5));
    return text.length > 6 ? (+value.toPrecision(3)).toExponential() : text;
  }

  const shown = value => value == null ? '' : String(+value.toPrecision(4));

  /* The stages of a run as stripes, of several runs as dashed lines, and the teacher's score. */
  function ground(chart) {
    return u => inside(u, (ctx, bbox, ratio) => {
      (chart.stages || []).forEach(([name, from, to], index) => {
        const left = Math.max(u.valToPos(from, 'x', true), bbox.left);
        const right = Math.min(u.valToPos(to, 'x', true), bbox.left + bbox.width);
        ctx.fillStyle = faded(colour('--c7'), index % 2 ? .13 : .05);
        ctx.fillRect(left, bbox.top, right - left, bbox.height);
      });
      ctx.lineWidth = ratio;
      ctx.setLineDash([4 * ratio, 4 * ratio]);
      for (const [, at, index] of chart.markers || []) line(ctx, u.valToPos(at, 'x', true), bbox, '--c' + index % 8, false);
      if (chart.line) {
        const y = u.valToPos(chart.line[1], 'y', true);
        ctx.setLineDash([1 * ratio, 3 * ratio]);
        line(ctx, y, bbox, '--soft', true);
      }
    });
  }

  /* Their names, above the grid. */
  function names(chart) {
    return u => inside(u, (ctx, bbox, ratio) => {
      ctx.fillStyle = colour('--soft');
      for (const [name, from, to] of chart.stages || []) {
        const left = Math.max(u.valToPos(from, 'x', true), bbox.left), right = u.valToPos(to, 'x', true);
        if (ctx.measureText(name).width + 8 * ratio < right - left) ctx.fillText(name, left + 4 * ratio, bbox.top + 3 * ratio);
      }
      if (chart.line) ctx.fillText(chart.line[0], bbox.left + 6 * ratio, u.valToPos(chart.line[1], 'y', true) + 3 * ratio);
    });
  }

  function inside(u, paint) {
    const {ctx, bbox} = u, ratio = devicePixelRatio;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    ctx.font = FONT.replace('11', String(11 * ratio));
    ctx.textAlign = 'left';
    ctx.textBaseline = 'top';
    paint(ctx, bbox, ratio);
    ctx.restore();
  }

  function line(ctx, at, bbox, name, flat) {
    ctx.strokeStyle = colour(name);
    ctx.beginPath();
    ctx.moveTo(flat ? bbox.left : at, flat ? at : bbox.top);
    ctx.lineTo(flat ? bbox.left + bbox.width : at, flat ? at : bbox.top + bbox.height);
    ctx.stroke();
  }

  function draw(figure) {
    const chart = charts[figure.dataset.chart];
    const room = figure.clientWidth;
    if (figure.plot) figure.plot.destroy();
    figure.plot = null;
    if (!room) return;                        // folded away
    const {data, series, bands} = columns(chart);
    const positive = chart.series.every(one => one.y.every(y => y > 0));
    const axis = {stroke: colour('--soft'), font: FONT, grid: {stroke: colour('--line'), width: 1}, ticks: {stroke: colour('--line'), width: 1, size: 4}};
    const range = (u, low, high) => {
      if (chart.line) { low = Math.min(low, chart.line[1]); high = Math.max(high, chart.line[1]); }
      return uPlot.rangeNum(low, high, .08, false);
    };
    const last = chart.stages.length ? chart.stages[chart.stages.length - 1][2] : Math.max(...data[0]);
    const y = chart.log && positive ? {distr: 3} : {range};
    figure.plot = new uPlot({
      width: room, height: Math.round(Math.max(190, Math.min(340, room * .52))),
      scales: {x: {time: false, range: [0, last]}, y}, bands, cursor: {y: false},
      axes: [{...axis, size: 30, space: 50, incrs: WHOLE}, {...axis, size: 52, values: (u, all) => all.map(short)}],
      series: [{label: chart.x, value: (u, v) => v == null ? '' : String(+v.toFixed(2))}, ...series],
      hooks: {drawClear: [ground(chart)], draw: [names(chart)]},
    }, data, figure);
    figure.room = room;
  }

  const figures = [...document.querySelectorAll('[data-chart]')];
  const all = () => figures.forEach(draw);
  const watch = new ResizeObserver(seen => seen.forEach(({target}) => { if (target.clientWidth !== target.room) draw(target); }));
  all();
  figures.forEach(figure => watch.observe(figure));
  dark.addEventListener('change', all);
  addEventListener('beforeprint', () => { document.querySelectorAll('details').forEach(one => { one.open = true; }); all(); });
  addEventListener('afterprint', all);
  document.documentElement.dataset.drawn = figures.filter(figure => figure.plot).length;
})();

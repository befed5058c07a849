// graphile-worker: `default`, or `tuned` as in its own performance test (24 jobs at once, a local
// queue of 500, completions batched per turn of the event loop).
import { createRequire } from "node:module";

const require = createRequire(process.env.BENCH_NODE_MODULES + "/");
const { run, makeWorkerUtils } = require("graphile-worker");
const pg = require("pg");
const connectionString = process.env.BENCH_DSN;
const [action, ...args] = process.argv.slice(2);
const PAYLOAD = { account: "4711-0815-2342", month: "2025-03", note: "no-op job of the benchmark", n: 7 };
const say = (facts) => process.stdout.write(JSON.stringify(facts) + "\n");
const now = () => performance.timeOrigin + performance.now();

async function timed(count, work) {
  const began = performance.now();
  await work();
  say({ event: "done", seconds: (performance.now() - began) / 1000, count });
}

let calls = 0;
const taskList = {
  noop: async () => {
    calls += 1;
    if (calls === 1) {
      const { user, system } = process.cpuUsage();
      say({ event: "first", at: now() / 1000, cpu: (user + system) / 1e6 });
    }
    if (calls % 100 === 0) say({ event: "count", calls });
  },
  late: async (payload) => say({ event: "late", ms: now() - payload.at }),
};
const profiles = {
  default: { concurrentJobs: 1 },
  tuned: {
    concurrentJobs: 24,
    maxPoolSize: 25,
    localQueue: { size: 500, refetchDelay: { durationMs: 10 } },
    completeJobBatchDelay: 0,
    failJobBatchDelay: 0,
  },
};

const actions = {
  async setup() {
    const utils = await makeWorkerUtils({ connectionString });
    await utils.migrate();
    await utils.release();
  },
  async bulk(count) {
    const utils = await makeWorkerUtils({ connectionString });
    const total = Number(count);
    await timed(total, async () => {
      for (let start = 0; start < total; start += 1000) {
        const size = Math.min(1000, total - start);
        await utils.addJobs(Array.from({ length: size }, () => ({ identifier: "noop", payload: PAYLOAD })));
      }
    });
    await utils.release();
  },
  async tasks(count, concurrency) {
    const pgPool = new pg.Pool({ connectionString, max: 20 });
    const utils = await makeWorkerUtils({ pgPool });
    const total = Number(count);
    let left = total;
    await timed(total, () =>
      Promise.all(
        Array.from({ length: Number(concurrency) }, async () => {
          while (left > 0) {
            left -= 1;
            await utils.addJob("noop", PAYLOAD);
          }
        }),
      ),
    );
    await utils.release();
    await pgPool.end();
  },
  async pace(count, perSecond) {
    const pgPool = new pg.Pool({ connectionString, max: 10 });
    const utils = await makeWorkerUtils({ pgPool });
    const began = performance.now();
    const underWay = [];
    for (let n = 0; n < Number(count); n += 1) {
      const wait = began + (n * 1000) / Number(perSecond) - performance.now();
      if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
      underWay.push(utils.addJob("late", { at: now() }));
    }
    await Promise.all(underWay);
    say({ event: "done", seconds: (performance.now() - began) / 1000, count: Number(count) });
    await utils.release();
    await pgPool.end();
  },
  async worker(profile) {
    const runner = await run({ preset: { worker: { connectionString, ...profiles[profile] } }, taskList });
    await runner.promise;
  },
};
await actions[action](...args);

// The reference parts of x402 from npm, unchanged, with the failures that a test
// asks for around them. One JSON object on the command line says what to run:
//
//   {"part": "facilitator", "rpc": URL, "chain": N, "key": "0x…"}
//   {"part": "server", "facilitator": URL, "network": "eip155:N", "asset": "0x…", "name", "version", "payTo", "amount", "timeout"}
//   {"part": "client", "rpc": URL, "chain": N, "key": "0x…", "url": URL, "times": 2}
//
// The first two print {"url": …} when they listen. POST /fault {"fault": NAME, "times": N} sets
// what fails next; GET /seen counts what came.
import express from "express";
import { createWalletClient, defineChain, http, publicActions } from "viem";
import { privateKeyToAccount } from "viem/accounts";

const config = JSON.parse(process.argv[2]);
const seen = {};
let fault = { fault: "", times: 0 };

const count = (name) => (seen[name] = (seen[name] ?? 0) + 1);
const failing = (name) => fault.fault === name && fault.times > 0 && (fault.times--, count(`fault ${name}`), true);

function wallet() {
  const chain = defineChain({ id: config.chain, name: "test", nativeCurrency: { name: "Ether", symbol: "ETH", decimals: 18 }, rpcUrls: { default: { http: [config.rpc] } } });
  return createWalletClient({ account: privateKeyToAccount(config.key), chain, transport: http(config.rpc), pollingInterval: 50 }).extend(publicActions);
}

function listen(app) {
  app.post("/fault", express.json(), (req, res) => res.json((fault = req.body)));
  app.get("/seen", (_, res) => res.json(seen));
  const server = app.listen(config.port ?? 0, "127.0.0.1", (error) => {
    if (error) throw error;
    console.log(JSON.stringify({ url: `http://127.0.0.1:${server.address().port}` }));
  });
  server.keepAliveTimeout = 100;
}

async function facilitator() {
  const { x402Facilitator } = await import("@x402/core/facilitator");
  const { toFacilitatorEvmSigner } = await import("@x402/evm");
  const { registerExactEvmScheme } = await import("@x402/evm/exact/facilitator");
  const { registerExactEvmScheme: registerV1 } = await import("@x402/evm/exact/v1/facilitator").catch(() => ({}));
  const client = wallet();
  const signer = toFacilitatorEvmSigner({
    address: client.account.address,
    readContract: (a) => client.readContract(a),
    verifyTypedData: (a) => client.verifyTypedData(a),
    writeContract: (a) => client.writeContract(a),
    sendTransaction: (a) => client.sendTransaction(a),
    waitForTransactionReceipt: (a) => client.waitForTransactionReceipt(a),
    getCode: (a) => client.getCode(a),
  });
  const parts = new x402Facilitator();
  registerExactEvmScheme(parts, { signer, networks: `eip155:${config.chain}` });
  registerV1?.(parts, { signer, networks: config.network1 });
  const app = express();
  app.get("/supported", (_, res) => res.json(parts.getSupported()));
  for (const step of ["verify", "settle"]) {
    app.post(`/${step}`, express.json({ limit: "1mb" }), async (req, res) => {
      count(step);
      if (failing(`${step} down`)) return req.socket.destroy();
      try {
        const answer = await parts[step](req.body.paymentPayload, req.body.paymentRequirements);
        count(`${step} done`);
        if (failing(`${step} answer lost`)) return req.socket.destroy();
        if (failing(`${step} answers 500`)) return res.status(500).json({ error: "internal" });
        res.json(answer);
      } catch (error) {
        res.status(500).json({ error: String(error?.message ?? error) });
      }
    });
  }
  listen(app);
}

async function server() {
  const { paymentMiddleware, x402ResourceServer } = await import("@x402/express");
  const { ExactEvmScheme } = await import("@x402/evm/exact/server");
  const { HTTPFacilitatorClient } = await import("@x402/core/server");
  const resource = new x402ResourceServer(new HTTPFacilitatorClient({ url: config.facilitator })).register(config.network, new ExactEvmScheme());
  const app = express();
  app.use((req, res, next) => {
    const paid = req.headers["payment-signature"] !== undefined;
    count(`${paid ? "paid" : "unpaid"} ${req.method} ${req.path}`);
    if (paid && failing("server down before")) return req.socket.destroy();
    if (paid && fault.times > 0 && ["server answer lost", "server answers 502"].includes(fault.fault)) {
      const end = res.end.bind(res);
      res.end = (...args) => {
        if (failing("server answer lost")) return req.socket.destroy();
        if (failing("server answers 502")) {
          for (const name of res.getHeaderNames()) res.removeHeader(name);
          res.statusCode = 502;
          return end("bad gateway");
        }
        return end(...args);
      };
    }
    next();
  });
  app.post("/fault", express.json(), (req, res) => res.json((fault = req.body)));
  const accepts = {
    scheme: "exact", network: config.network, payTo: config.payTo, maxTimeoutSeconds: config.timeout ?? 60,
    price: { amount: String(config.amount), asset: config.asset, extra: { name: config.name, version: config.version } },
  };
  app.use(paymentMiddleware({ "GET /report": { accepts, description: "a report" }, "GET /data": { accepts, description: "data" }, "POST /order": { accepts, description: "an order" } }, resource));
  app.get("/report", (_, res) => { count("delivered"); res.send("21 degrees"); });
  app.get("/data", (_, res) => { count("delivered"); res.json({ temperature: 21 }); });
  app.post("/order", express.json(), (req, res) => { count("delivered"); res.json({ order: req.body, key: req.headers["idempotency-key"] }); });
  app.get("/free", (_, res) => res.json({ free: true }));
  listen(app);
}

async function client() {
  const { wrapFetchWithPayment, x402Client } = await import("@x402/fetch");
  const { ExactEvmScheme } = await import("@x402/evm/exact/client");
  const payer = new x402Client().register("eip155:*", new ExactEvmScheme(privateKeyToAccount(config.key)));
  payer.setSpendControls(false); // the token here is none that it knows
  const pay = wrapFetchWithPayment(fetch, payer);
  for (let i = 0; i < (config.times ?? 1); i++) {
    try {
      const answer = await pay(config.url, config.init);
      console.log(JSON.stringify({ status: answer.status, body: (await answer.text()).slice(0, 1000), response: answer.headers.get("payment-response") }));
    } catch (error) {
      console.log(JSON.stringify({ error: String(error?.cause?.code ?? error?.message ?? error) }));
    }
  }
}

await { facilitator, server, client }[config.part]();

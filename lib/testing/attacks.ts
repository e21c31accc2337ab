import type { NamedTest } from "./named-tests.ts";

/** Kinds of attack that somebody has tried on us, or on systems of this kind, and what fails when our protection is undone. */
export const ATTACKS: Record<string, readonly NamedTest[]> = {
  "a client sends a body or a query that a parser takes minutes for": [
    ["e2e/api.spec.ts", "a body is counted before anything parses it, for every path"],
    ["e2e/api.spec.ts", "a query is counted before anything parses it"],
    [
      "lib/testing/parsers.test.ts",
      "every module of these rooms that takes texts apart is in the table, or says why not",
    ],
  ],
  "a client sends what no route expects, signed in or not": [
    ["e2e/fuzz.spec.ts", "no malformed request to any route is the server's fault"],
    ["lib/auth/serve.db.test.ts", "a body of type %j is refused"],
    ["lib/auth/serve.db.test.ts", "the cookies %j do no harm"],
    ["lib/auth/serve.db.test.ts", "its other paths and methods are not served"],
  ],
  "a client breaks off, stalls or upgrades its connection, or speaks no HTTP": [
    ["e2e/fuzz.spec.ts", "nothing that a client makes of a connection is the server's fault, or ends it"],
    ["e2e/fuzz.spec.ts", "a request to upgrade the connection is a request like any other"],
  ],
  "anybody asks again and again for what is expensive to make": [
    ["lib/api/system.test.ts", "the schema is made once for all who ask, and not sent to who has it"],
    ["lib/auth/sign-in.db.test.ts", "who is refused is charged nothing, and costs no check of a password"],
  ],
  "code of a DAG uses the channel to its worker or scheduler": [
    ["worker/functions/functions.proc.test.ts", "have no channel of Node's to this process"],
    ["worker/functions/functions.proc.test.ts", "that write into the pipe themselves end their own process: %s %.40s"],
    [
      "worker/functions/functions.proc.test.ts",
      "that end their call twice do no harm to the next one, and have no other",
    ],
    ["worker/functions/functions.proc.test.ts", "leave no descriptor behind when what they started keeps their pipes"],
    ["worker/loader/isolation.db.test.ts", "has an error of its own: %s"],
    ["worker/loader/isolation.db.test.ts", "has no channel of Node's to it"],
    ["worker/frames/frames.test.ts", "the first that is none is refused at its head; those before it are taken"],
    ["lib/testing/fuzz/fuzz.proc.test.ts", "hostile input costs whoever sent it, and nobody else: %s"],
  ],
  "code of a DAG floods its worker with output or results": [
    ["worker/functions/functions.proc.test.ts", "wait with more output while what they wrote is being kept"],
    ["worker/spawner/hostile.proc.test.ts", "writes 300 MB without a line end: the worker takes it at its own pace"],
    ["worker/functions/functions.proc.test.ts", "that leave an object of more members than a parser likes are told so"],
  ],
  "a definition takes all time, or code in it runs as the scheduler": [
    [
      "worker/loader/isolation.db.test.ts",
      "a file that is data is read where it can be stopped, and costs the scheduler's process nothing but its answer",
    ],
    ["worker/loader/isolation.db.test.ts", "a file is evaluated as the user of tasks, and can end no process of ours"],
    ["worker/loader/isolation.db.test.ts", "nothing that a file starts is there behind the pass"],
  ],
  "a task blocks its worker: files that are none, expressions, what ignores its limit": [
    [
      "lib/executors/sql-address.test.ts",
      "a certificate is a regular file of a certificate's size, and nothing that blocks or never ends",
    ],
    [
      "worker/worker/readiness.proc.test.ts",
      "every thread of the pool taken: not ready, drained with the reason, and back by itself",
    ],
    [
      "worker/run-within.test.ts",
      "what does not end is not waited for, and may fail later without anybody hearing of it",
    ],
    ["lib/domain/expressions/costs.test.ts", "ends soon, with a reason: %s"],
    ["worker/functions/functions.proc.test.ts", "that block their event loop are stopped all the same"],
  ],
  "a process of a task lives on, or looks at its neighbours": [
    [
      "worker/functions/functions.proc.test.ts",
      "have what they start ended with their call, and not seen by the next one",
    ],
    ["worker/guests/guest.proc.test.ts", "takes all that it has started with it, however it ends"],
    ["worker/guests/guest.proc.test.ts", "has a user to itself, gives it back, and gains no power by a program"],
    ["worker/spawner/hostile.proc.test.ts", "leaves a daemon without any sign of where it came from"],
    ["worker/task-user.proc.test.ts", "takes all that runs as its user with it, and gains no power by a program"],
    ["worker/task-user.proc.test.ts", "cannot read the environment, the memory and the files of the worker"],
    [
      "worker/task-user.proc.test.ts",
      "cannot look into the folder, the environment or the streams of another one, nor end it",
    ],
  ],
  "a task takes all that the machine has: processes, memory, disk": [
    ["worker/spawner/hostile.proc.test.ts", "is a fork bomb: it meets its limit, and its neighbours do not notice"],
    ["worker/spawner/hostile.proc.test.ts", "takes all memory: only it is killed, whichever of its processes took it"],
    ["worker/guests/guest.proc.test.ts", "a guest that takes more memory than it may is ended, and it is told"],
    [
      "worker/worker/full-disk.proc.test.ts",
      "by one task: that one is ended, with the reason, and its neighbour writes on",
    ],
  ],
  "a task ends its spawner, or has it stand still": [
    [
      "worker/spawner/hostile.proc.test.ts",
      "ends the spawner: its attempt is lost, and the next one finds a new spawner",
    ],
    [
      "worker/spawner/spawner.proc.test.ts",
      "is ended and replaced when it stands still, and what it ran is reported and ended",
    ],
  ],
  "a task kills its worker, again and again": [
    ["lib/engine/suspects.db.test.ts", "two of them do, and the same holds"],
    [
      "lib/engine/suspects.db.test.ts",
      "five deaths that no task is the cause of fail none, whoever was there each time",
    ],
  ],
  "a task has a worker's environment, and so its address of the database": [
    [
      "lib/testing/deploy.test.ts",
      "who runs the code of others is root with what isolating it takes, the rest are not root and have no power at all",
    ],
    [
      "lib/testing/deploy.test.ts",
      "each process connects as its own role with its own password, and only the migration as the superuser",
    ],
    ["lib/engine/own-roles.db.test.ts", "%s may not: %s"],
    [
      "lib/db/roles/privileges.db.test.ts",
      "the catalog has what the table says, and every table, view, sequence and function has a line",
    ],
  ],
  "passwords are guessed, from many addresses or so that others are locked out": [
    ["cli/request-guard.test.ts", "only a named proxy says who asks"],
    [
      "lib/auth/sign-in.db.test.ts",
      "after 3,000 wrong passwords of others the right one is accepted within thirty seconds, from anywhere",
    ],
    ["lib/auth/sign-in.db.test.ts", "guesses at once are as slow as guesses in turn"],
    ["lib/auth/sign-in.db.test.ts", "an unknown account is counted as a known one is"],
    ["lib/auth/sign-in.db.test.ts", "forgotten counts are deleted set by set, and no others"],
  ],
  "a session that is over is used again": [
    ["lib/auth/serve.db.test.ts", "is over when its version was raised, and no path makes its cookie anew"],
    ["lib/auth/serve.db.test.ts", "ends twelve hours after the sign-in"],
    ["e2e/slice.spec.ts", "signing out ends the session, also for a copy of its cookie"],
  ],
  "a page of somebody else asks by a browser, or by a name of its own": [
    ["cli/request-guard.test.ts", "who is refused for the host reads which settings name hosts"],
    ["cli/request-guard.test.ts", "only an https address is kept to https"],
    ["cli/request-guard.test.ts", "behind a proxy comes from the public address, by whatever host the proxy asks"],
  ],
  "a secret gets out: by a redirect, a log, an error": [
    [
      "lib/executors/http.proc.test.ts",
      "sends no body to another origin; within one it does, and a POST that becomes a GET has none",
    ],
    [
      "lib/executors/http.proc.test.ts",
      "follows redirects as far as allowed, and drops credentials on the way to another origin",
    ],
    ["lib/domain/secrets/mask.test.ts", "%s hides all of it"],
    [
      "worker/worker/secrets.proc.test.ts",
      "a secret reaches its task, and nothing of it reaches the database, in no form",
    ],
    [
      "worker/worker/readiness.proc.test.ts",
      "every thread of the pool taken: not ready, drained with the reason, and back by itself",
    ],
  ],
  "a task asks for what only this network may reach": [
    [
      "lib/executors/http.proc.test.ts",
      "never reaches a private address, neither at once nor by a redirect nor by a name that changes its mind",
    ],
    ["lib/executors/private-ranges.test.ts", "metadata of %s (%s) are refused"],
  ],
  "a server that a task asks is hostile itself": [
    ["lib/executors/http.proc.test.ts", "does not read on when the response is larger than an output may be"],
    [
      "lib/executors/http.proc.test.ts",
      "a server that makes another protocol of the connection fails the request, whatever its method",
    ],
    ["lib/executors/sql.db.test.ts", "bytes than an output may have fail it before they are all here"],
    ["lib/executors/sql.db.test.ts", "depth than JSON can be written with fails it, and not the worker"],
  ],
};

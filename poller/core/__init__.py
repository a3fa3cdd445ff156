"""The core decides: whom to call, what is new, what may be spent, when to commit.

Theory of operation. Nothing here does I/O, reads a clock or draws a random number: the core is told the time (`now`, always the last
argument) and handed its data. It returns *orders* (`Fetch`, `Commit`, `Wait`), and is told what became of them (`page_received`,
`fetch_failed`, `committed`). State changes only inside these calls, so there is no lock; and no checkpoint moves before `committed`,
so an order that failed has nothing to undo.

    engine      the one object that the worker talks to: joins the parts below for each owned partition
    owned       what the engine keeps of one partition
    schedule    whom to call next
    budget      whether a call may be made: the rate's bucket, the cycle's ledger, what of both is durable
    cursor      how the cursor moves, and what the server's time is taken to be
    walk        how one customer is read page by page, whatever the API makes of what it is asked
    dedupe      what of a page is new, and which ids must be remembered
    backoff     how long to leave alone what has failed
    ownership   which partition a customer belongs to, and who may own it
"""

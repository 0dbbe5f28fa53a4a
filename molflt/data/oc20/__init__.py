"""OC20 and files in OCP's layout.

| file | concept |
|---|---|
| datamodule | `OC20IS2RE` |
| fetch | `molflt data oc20`: the archive, checked |
| dataset, record, batch | LMDB files of pickled graphs, in any of their forms |
| inert_pickle | pickles read as data: nothing is called |
| submission | the leaderboard's file |
"""
